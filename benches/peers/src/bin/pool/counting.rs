//! The system's allocator, which counts the calls and the bytes of each thread.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The number of sizes that are told apart, each of [`STEP`] bytes. The last has all that are larger.
const SIZES: usize = 1 << 13;
const STEP: usize = 8;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: [Cell<i32>; SIZES] = const { [const { Cell::new(0) }; SIZES] };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Returns the number of this thread's allocations so far. Growing an allocation counts as one.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// The memory that a thread has allocated and not freed.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) bytes: i64,
    sizes: Vec<i32>,
}

impl Live {
    pub(crate) fn now() -> Self {
        let bytes = LIVE_BYTES.get();
        let sizes = LIVE.with(|sizes| sizes.iter().map(Cell::get).collect());
        Self { bytes, sizes }
    }

    /// Returns the sizes of allocations of which there is one or more for each of these things since then, with their
    /// number for each thing.
    pub(crate) fn each_since(&self, before: &Self, things: usize) -> Vec<(usize, i32)> {
        let things = i32::try_from(things).unwrap_or(i32::MAX);
        let grown = self.sizes.iter().zip(&before.sizes).map(|(now, before)| now - before);
        let each = grown
            .enumerate()
            .map(|(size, grown)| (size * STEP, (grown + things / 2) / things));
        each.filter(|(_, number)| *number > 0).collect()
    }
}

fn allocated(size: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    change(size, 1);
}

fn change(size: usize, by: i32) {
    LIVE_BYTES.set(LIVE_BYTES.get() + size as i64 * i64::from(by));
    LIVE.with(|sizes| {
        let count = &sizes[size.div_ceil(STEP).min(SIZES - 1)];
        count.set(count.get() + by);
    });
}

struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it is, and the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: the caller's promises are the ones asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        change(layout.size(), -1);
        allocated(size);
        // SAFETY: as above.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        change(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}
