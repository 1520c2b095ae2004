//! Promise: on a direct route, no address is dialled that the policy denies, however it is named and whatever DNS says.
//! Proxies are reached at any address.
//!
//! A connector records its requests, and servers on loopback see the dials. Every policy here denies loopback unless
//! the test makes an exception.

mod errors;
mod exceptions;
mod http;
mod property;
mod proxies;
mod split;
mod table;
mod targets;

use std::{
    future::{Ready, ready},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    vec,
};

use ::http::Uri;
use hyper_util::{client::legacy::connect::dns::Name, rt::TokioIo};
use tokio::io::DuplexStream;
use tower::Service;
use tower_outbound_proxy::{ConnectError, IpPolicy, connector::Split};

/// Returns a policy that denies everything of special purpose except this list.
fn except(hosts: &str) -> IpPolicy {
    IpPolicy::builder()
        .special_purpose()
        .allow_hosts(hosts)
        .build()
        .unwrap()
}

/// Returns the denied address. Any other error fails the test.
#[track_caller]
fn denied(error: &(dyn std::error::Error + 'static)) -> IpAddr {
    let found = ConnectError::find(error).unwrap_or_else(|| panic!("{error:?}"));
    found.denied().unwrap_or_else(|| panic!("{found:?}")).address()
}

/// Returns the guarded connector of the two, for stacks without a proxy.
fn guarded<D, P>(split: Split<D, P>) -> D {
    split.into_parts().0
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A resolver that gives one answer after the other, repeats the last one, and records the names.
#[derive(Clone, Debug)]
struct Names {
    answers: Arc<[Vec<SocketAddr>]>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// Creates a resolver with these answers: addresses, with or without ports, separated by blanks.
    fn new<const N: usize>(answers: [&str; N]) -> Self {
        let address = |text: &str| text.parse().unwrap_or_else(|_| SocketAddr::new(ip(text), 0));
        let answer = |text: &str| text.split_whitespace().map(address).collect();
        Self {
            answers: answers.map(answer).into(),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut asked = self.asked.lock().unwrap();
        let answer = &self.answers[asked.len().min(self.answers.len() - 1)];
        asked.push(name.to_string());
        ready(Ok(answer.clone().into_iter()))
    }
}

/// A connector that records its URIs, and connects to every host except those that it must refuse.
#[derive(Clone, Debug, Default)]
struct Recorder {
    asked: Arc<Mutex<Vec<String>>>,
    unreachable: &'static [&'static str],
}

impl Recorder {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Service<Uri> for Recorder {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.asked.lock().unwrap().push(uri.to_string());
        ready(match self.unreachable.contains(&uri.host().unwrap_or_default()) {
            true => Err(io::ErrorKind::HostUnreachable.into()),
            false => Ok(TokioIo::new(tokio::io::duplex(64).0)),
        })
    }
}
