//! A lab on loopback for HTTP proxy clients.
//!
//! A proxy client is right when the right bytes go to the right place. The lab has real servers to send them to, and
//! each records what it receives:
//!
//! | | |
//! |---|---|
//! | [`Origin`] | an HTTP/1 and HTTP/2 server, with or without TLS |
//! | [`ForwardProxy`] | a forward proxy: absolute-form requests and CONNECT, authentication, refusals, interception |
//! | [`Http2Proxy`] | a forward proxy over HTTP/2, whose streams do what a test tells them |
//! | [`ScriptedProxy`] | answers a request head with a [`Script`], byte for byte |
//! | [`Auth`], [`DigestAuth`] | the authentication that proxies ask for |
//! | [`Fault`] | the ways a proxy goes wrong, as ready-made scripts |
//! | [`servers`] | real proxies: Squid, Apache httpd, nghttpx, Envoy, tinyproxy, mitmproxy |
//! | [`BlackHole`] | an address that answers no SYN |
//! | [`Ca`] | certificates for all of them |
//! | [`Resolver`], [`connector()`] | names that resolve to loopback, and a record of look-ups |
//! | [`Network`] | names and addresses of a separate network, whose servers are on loopback |
//! | [`Dice`] | numbers that look random, from a seed |
//! | [`Log`] | the log of a thread or the process |
//! | [`program()`], [`Files`] | built programs, and files to start them with |
//!
//! The servers share [`Listening`]: address, record of [`Request`]s and [`Connection`]s, stop and restart. All listen
//! on free ports and are ready when `start` returns, so no test needs a sleep. To wait for something, wait until the
//! record shows it ([`Listening::until`], [`Connection::until`]) inside [`within`].
//!
//! ```
//! # use tower_outbound_proxy_lab::{ForwardProxy, Origin, within};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let origin = Origin::http().await;
//! let proxy = ForwardProxy::builder().map("origin.test:80", origin.addr()).start().await;
//!
//! let mut client = tokio::net::TcpStream::connect(proxy.addr()).await.unwrap();
//! let head = "GET http://origin.test/status/204 HTTP/1.1\r\nhost: origin.test\r\nconnection: close\r\n\r\n";
//! client.write_all(head.as_bytes()).await.unwrap();
//! let mut answer = String::new();
//! within(client.read_to_string(&mut answer)).await.unwrap();
//!
//! assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"));
//! assert_eq!(proxy.connection(0).received(), head.as_bytes());
//! assert_eq!(origin.requests()[0].target, "/status/204");
//! # }
//! ```

mod auth;
mod black_hole;
mod ca;
mod dice;
mod digest;
mod fault;
mod forward;
mod http2_proxy;
mod intercept;
mod listen;
mod log;
mod network;
mod origin;
mod program;
mod proxy;
mod record;
mod request;
mod resolve;
mod script;
mod scripted_proxy;
#[cfg(unix)]
pub mod servers;
mod target;
mod tee;

use std::ffi::OsString;
use std::future::Future;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use auth::{Auth, Ending};
pub use black_hole::BlackHole;
pub use ca::{Ca, Identity, provider};
pub use dice::Dice;
pub use digest::{DigestAnswer, DigestAuth};
pub use fault::Fault;
pub use http2_proxy::{Behaviour, Http2Proxy, Http2ProxyBuilder};
pub use listen::Listening;
pub use log::Log;
pub use network::{Host, Network};
pub use origin::{Origin, OriginBuilder, pattern};
pub use program::{Files, program};
pub use proxy::{ForwardProxy, ForwardProxyBuilder};
pub use record::{Connection, Tls};
pub use request::{Kind, Request};
pub use resolve::{Resolver, connector, connector_with};
pub use script::{Script, Step};
pub use scripted_proxy::{ScriptedProxy, ScriptedProxyBuilder};

/// The time limit of [`within`]: far longer than anything on loopback takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `future`. A test that hangs fails instead, and names the place that waited.
///
/// # Panics
///
/// After ten seconds.
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{place}: not done within {PATIENCE:?}"),
        }
    }
}

/// `text`, and behind it something that is not Unicode.
#[must_use]
pub fn not_unicode(text: &str) -> OsString {
    #[cfg(unix)]
    let broken: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
    #[cfg(windows)]
    let broken: OsString = std::os::windows::ffi::OsStringExt::from_wide(&[0xd800]);
    [OsString::from(text), broken].into_iter().collect()
}

/// Locks a record. It stays readable after a panic elsewhere, which it helps to explain.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
