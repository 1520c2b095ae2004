//! An allocator that looks for secrets in every block that is freed.
//!
//! It is a package of its own, because an allocator is unsafe, and the packages of the workspace forbid that. A test
//! makes it the allocator of its process:
//!
//! ```
//! use tower_outbound_proxy_wiping::Watching;
//!
//! #[global_allocator]
//! static ALLOCATOR: Watching = Watching::new(&[("password", b"s3cret-of-this-example")]);
//!
//! drop(String::from("my s3cret-of-this-example"));
//! let found = ALLOCATOR.take();
//! assert!(found[0].starts_with("password in a freed block of 25 bytes"));
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    sync::{Mutex, PoisonError},
};

/// The system's allocator, which looks for secrets in every block before it is freed.
///
/// A block that grows and moves is freed at its old place.
#[derive(Debug)]
pub struct Watching {
    secrets: &'static [(&'static str, &'static [u8])],
    found: Mutex<Vec<String>>,
}

thread_local! {
    /// True while a find is noted, which allocates and frees as well.
    static IS_NOTING: Cell<bool> = const { Cell::new(false) };
}

impl Watching {
    /// Creates an allocator that looks for these secrets, each with its name.
    #[must_use]
    pub const fn new(secrets: &'static [(&'static str, &'static [u8])]) -> Self {
        Self {
            secrets,
            found: Mutex::new(Vec::new()),
        }
    }

    /// Returns what was found since the last call: the secret's name, and the place at which its block was freed.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, block: &[u8]) {
        for (name, secret) in self.secrets {
            if block.windows(secret.len()).any(|window| window == *secret) && !IS_NOTING.replace(true) {
                let place = Backtrace::force_capture();
                let note = format!("{name} in a freed block of {} bytes:\n{place}", block.len());
                self.found.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                IS_NOTING.set(false);
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe; this one passes everything to the system's"
)]
// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that all of it can be read when it is freed.
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives up the whole block, which was initialised when it was allocated.
        self.look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }
}
