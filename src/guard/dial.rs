//! What a dial is for: a mark that [`Proxy`](crate::Proxy) and [`Guard`](crate::Guard) set around what they call, and
//! that [`Guard`](crate::Guard) and [`GuardedResolver`](crate::GuardedResolver) read.
//!
//! A connector is called with a URI and nothing else, so the mark travels beside the call: it is set while the inner
//! service is called and while its future is polled, on whichever thread that is, and at no other time. Code that moves
//! the call to another task loses it, and the dial then counts as a direct one.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use pin_project_lite::pin_project;

use crate::{config::ProxyServer, target::Target};

tokio::task_local! {
    static DIAL: Dial;
}

/// What is being dialled.
#[derive(Clone)]
pub(crate) enum Dial {
    /// This proxy.
    Proxy(ProxyServer),
    /// This target, by a guard.
    Target(Arc<Asked>),
    /// A target of which no more is known.
    Direct,
}

/// What a guard was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) target: Target<'static>,
    /// The port stands in the URI, so a connector takes no other from its resolver.
    pub(super) port_is_explicit: bool,
}

impl Dial {
    /// Runs this with the mark set.
    pub(crate) fn scope<T>(self, run: impl FnOnce() -> T) -> T {
        DIAL.sync_scope(self, run)
    }
}

/// Runs a direct dial: no mark of a dial further outside is seen in it.
pub(crate) fn direct<T>(run: impl FnOnce() -> T) -> T {
    match DIAL.try_with(|_| ()) {
        Ok(()) => Dial::Direct.scope(run),
        Err(_) => run(),
    }
}

/// Whether this is the address of the proxy that is being dialled. Whatever else is dialled meanwhile is not exempt.
pub(super) fn is_to_proxy(uri: &Uri) -> bool {
    DIAL.try_with(|dial| match dial {
        Dial::Proxy(proxy) => proxy.dial_uri().authority() == uri.authority(),
        Dial::Target(_) | Dial::Direct => false,
    })
    .unwrap_or(false)
}

/// What a look-up is for.
pub(super) enum LookUp {
    /// The proxy's name.
    Proxy,
    /// The name of a guard's target.
    Target(Arc<Asked>),
    /// Nothing more is known.
    Other,
}

impl LookUp {
    /// Of this name, now.
    pub(super) fn of(name: &str) -> Self {
        let same =
            |other: Option<&str>| other.is_some_and(|other| without_dot(other).eq_ignore_ascii_case(without_dot(name)));
        DIAL.try_with(|dial| match dial {
            Dial::Proxy(proxy) if same(proxy.dial_uri().host()) => Self::Proxy,
            Dial::Target(asked) if same(asked.target.name()) => Self::Target(asked.clone()),
            _ => Self::Other,
        })
        .unwrap_or(Self::Other)
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl Asked {
    /// The target as it is dialled at an address that a resolver gave, whose port counts where no other is named.
    pub(super) fn at(&self, address: SocketAddr) -> Target<'_> {
        match (self.port_is_explicit, address.port(), self.target.port()) {
            (true, _, Some(port)) | (false, 0, Some(port)) => self.target.on_port(port),
            (_, 0, None) => self.target.clone(),
            (_, port, _) => self.target.on_port(port),
        }
    }
}

pin_project! {
    /// A future that is polled with the mark set.
    pub(crate) struct Marked<F> {
        mark: Dial,
        #[pin]
        future: F,
    }
}

impl<F> Marked<F> {
    pub(crate) fn new(mark: Dial, future: F) -> Self {
        Self { mark, future }
    }
}

impl<F: Future> Future for Marked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        this.mark.clone().scope(|| future.poll(cx))
    }
}
