//! The arrival of a request: whose it is, and whether it is where it belongs.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Session, message::Head};
use crate::{
    content,
    invariants::{self, Invariant},
    plan::ORIGINS,
    record::{Peer, TryId},
};

/// Returns a proxy's credentials, `user:password`.
pub(crate) fn credentials(proxy: usize, password: u64) -> String {
    format!("user{proxy}:secret-{proxy}-{password}")
}

/// Returns the `Proxy-Authorization` with them.
fn authorization(proxy: usize, password: u64) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials(proxy, password)))
}

/// Returns the generation of the password in a `Proxy-Authorization`.
fn password(proxy: usize, field: Option<&str>) -> Option<u64> {
    (0..8).find(|password| Some(&*authorization(proxy, *password)) == field)
}

impl Session {
    /// Returns the try that a request belongs to, and records that it has arrived.
    pub(super) fn arrived(&mut self, head: &Head) -> Option<TryId> {
        let mut record = self.world.record();
        let number = head.field("x-try").and_then(|number| number.parse::<TryId>().ok());
        let Some(number) = number.filter(|number| *number < record.tries.len()) else {
            record.violated(Invariant::Route, format_args!("a request of nobody arrived: {head:?}"));
            return None;
        };
        let one = &record.tries[number];
        let (request, planned) = (one.request, one.peer);
        let path = format!("/{request}/{number}");
        let is_proxy = self.is_proxy();
        let peer = match is_proxy {
            true => password(self.server, head.field("proxy-authorization")).map(|password| Peer::Forward {
                proxy: self.server,
                password,
            }),
            false => match record.connections[self.connection].near {
                Some(_) => record.connections[self.connection].peer,
                None => Some(Peer::Direct { origin: self.server }),
            },
        };
        let authority = head
            .target
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix(&path));
        let is_here = match is_proxy {
            true => authority.is_some_and(|authority| Some(authority) == head.field("host")),
            false => head.target == path,
        };
        if peer != Some(planned) || !is_here {
            record.violated(
                Invariant::Route,
                format_args!(
                    "try {number} was for {planned:?} and came to {peer:?} as {}",
                    head.target
                ),
            );
        }
        if head.field("authorization") != Some(&format!("Bearer {number}")) || (!is_proxy && leaks(head)) {
            record.violated(
                Invariant::Credentials,
                format_args!("try {number} came to {peer:?} with {:?}", head.fields),
            );
        }
        if let Some(peer) = peer {
            record.belongs(self.connection, self.shared(peer));
        }
        record.seen(number, self.connection);
        invariants::share(&self.world, &mut record, number);
        Some(number)
    }

    /// Returns the peer of a connection on which requests to this one come.
    fn shared(&self, peer: Peer) -> Peer {
        match peer {
            Peer::Forward { proxy, password } | Peer::Tunnel { proxy, password, .. } if self.is_shared => {
                Peer::Shared { proxy, password }
            }
            peer => peer,
        }
    }

    /// Returns the name of the origin that a CONNECT asks for, if it has the right credentials and no other, and the
    /// peer of the tunnel.
    pub(super) fn asks_for(&self, head: &Head) -> Option<(String, Peer)> {
        let mut record = self.world.record();
        let password = password(self.server, head.field("proxy-authorization"));
        if password.is_none() || head.field("authorization").is_some() {
            record.violated(
                Invariant::Credentials,
                format_args!("CONNECT {} came with {:?}", head.target, head.fields),
            );
        }
        let name = head.target.split(':').next()?.to_owned();
        let origin = self.world.plan.servers[..ORIGINS]
            .iter()
            .position(|server| server.name == name);
        let peer = Peer::Tunnel {
            proxy: self.server,
            password: password?,
            origin: origin?,
        };
        record.belongs(self.connection, self.shared(peer));
        Some((name, peer))
    }

    /// Returns a check of an upload's bytes, in order.
    pub(super) fn upload_check(&self, number: TryId) -> impl FnMut(&[u8]) + Send + use<> {
        let (world, mut read) = (self.world.clone(), 0);
        let request = world.record().tries[number].request;
        move |data| {
            if !content::is(request, read, data) {
                let text = format_args!("the upload of try {number} is another's after {read} bytes");
                world.record().violated(Invariant::Body, text);
            }
            read += data.len();
        }
    }
}

/// Returns true if a proxy's credentials came to an origin.
fn leaks(head: &Head) -> bool {
    let known = (ORIGINS..ORIGINS + 2).flat_map(|proxy| (0..8).map(move |password| credentials(proxy, password)));
    let mut known = known.flat_map(|text| [BASE64_STANDARD.encode(&text), text]);
    head.field("proxy-authorization").is_some()
        || known.any(|secret| head.fields.iter().any(|(_, value)| value.contains(&secret)))
}
