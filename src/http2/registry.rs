//! [`Connections`]: the open connections to proxies, by proxy.
//!
//! A task that wants a stream [waits for its turn](Connections::turn). The turn is a stream of an open connection, or
//! the permit to open one. Permits are given as long as too few attempts are under way. An attempt that takes longer
//! than a second, or has failed, does not count.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Http2Settings, PATIENCE,
    connection::{NewConnection, Registration},
    entry::{self, Entry, Offer, Open, Speaks, Use, Waiter},
    lease::Lease,
};
use crate::config::ProxyServer;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// The number of proxies from which on the registry forgets proxies without a connection.
const MANY: usize = 64;

/// The properties that users of a connection must share.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The proxy's address, and its credentials.
    pub(crate) proxy: ProxyServer,
    /// For whom a credentials provider answers.
    pub(crate) identity: u64,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
}

/// The open connections to proxies. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Registry>);

pub(super) struct Registry {
    settings: Http2Settings,
    entries: Mutex<HashMap<Arc<Key>, Entry>>,
    /// Connections opened, and streams of connections that had carried others, to all proxies.
    opened: AtomicU64,
    reused: AtomicU64,
    /// The rule since the settings were last replaced.
    keeps: Mutex<Option<Keeps>>,
}

/// Returns true if a connection may stay. Its arguments are the connection's key, and true if the settings that opened
/// it name its proxy.
type Keeps = Arc<dyn Fn(&Key, bool) -> bool + Send + Sync>;

/// The next step of a task that wants a stream.
pub(crate) enum Turn {
    /// Use this stream.
    Stream(Lease),
    /// Connect, and let others use the connection.
    Connect(Permit),
    /// Connect for this task alone: the proxy speaks HTTP/1.1. If `is_only`, it chose HTTP/2 and does not take CONNECT
    /// over it, so HTTP/2 is not offered.
    Http1 { is_only: bool },
}

/// Numbers for connections, attempts and waiters.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Connections {
    pub(crate) fn new(settings: Http2Settings) -> Self {
        Self(Arc::new(Registry {
            settings,
            entries: Mutex::default(),
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            keeps: Mutex::default(),
        }))
    }

    pub(crate) fn settings(&self) -> Http2Settings {
        self.0.settings
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, key: &Arc<Key>, wanted: Use) -> Turn {
        let (sender, mut answer) = oneshot::channel();
        let waiting = Waiting {
            registry: &self.0,
            key,
            place: (wanted, number()),
        };
        waiting.join(sender);
        loop {
            match timeout(PATIENCE, &mut answer).await {
                Ok(Ok(turn)) => return turn,
                Ok(Err(_)) => unreachable!("a waiter that leaves is not waiting"),
                // Attempts may have become slow.
                Err(_) => self.0.change(key, |_| ()),
            }
        }
    }

    /// Returns a stream for a forwarded request if one is free now and nobody waits for it.
    #[cfg(feature = "client")]
    pub(crate) fn stream(&self, key: &Key) -> Option<Lease> {
        let mut entries = self.0.lock();
        let (key, _) = entries.get_key_value(key)?;
        let key = key.clone();
        let entry = entries.get_mut(&key)?;
        match entry.offer(Use::Forward, self.0.settings.streams(), 0)? {
            Offer::Stream(index) if entry.waiters.is_empty() && entry.open[index].is_usable() => {
                Some(self.0.stream(&key, entry, index))
            }
            _ => None,
        }
    }

    /// Records a new connection, and returns its first stream. `is_named` is true if the settings name the proxy.
    pub(crate) fn add<T>(&self, key: &Arc<Key>, permit: Option<Permit>, new: NewConnection<T>, is_named: bool) -> Lease
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.0.opened(key, permit, new, is_named)
    }

    /// Records that a proxy chose HTTP/1.1.
    pub(crate) fn speaks_http1(&self, key: &Arc<Key>) {
        self.0.change(key, |entry| entry.set_chosen(Speaks::Http1));
    }

    /// Records that a proxy takes no CONNECT over HTTP/2. Returns true if it is news.
    pub(crate) fn takes_no_http2(&self, key: &Arc<Key>) -> bool {
        self.0.change(key, Entry::set_http1_only)
    }

    /// Returns true if a proxy has answered any CONNECT over HTTP/2.
    pub(crate) fn has_answered(&self, key: &Arc<Key>) -> bool {
        self.0.lock().get(key).is_some_and(|entry| entry.has_answered)
    }

    /// Returns true if a proxy has opened any tunnel over HTTP/2.
    pub(crate) fn has_opened(&self, key: &Arc<Key>) -> bool {
        self.0.lock().get(key).is_some_and(|entry| entry.has_opened)
    }

    /// Forgets the connections that may not stay. They close when they carry nothing any more, as do those that are
    /// opened later.
    #[cfg(feature = "client")]
    pub(crate) fn retain(&self, keeps: impl Fn(&Key, bool) -> bool + Send + Sync + 'static) {
        let mut over = Vec::new();
        let mut entries = self.0.lock();
        for (key, entry) in entries.iter_mut() {
            let open = std::mem::take(&mut entry.open).into_iter();
            let (kept, removed): (Vec<_>, Vec<_>) = open.partition(|open| keeps(key, open.is_named));
            entry.open = kept;
            over.extend(removed);
        }
        let old = self.0.rule().replace(Arc::new(keeps));
        drop(entries);
        drop((over, old));
    }

    /// Returns the number of connections opened, and that of streams of connections that had carried others.
    #[cfg(feature = "client")]
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.0.opened.load(Ordering::Relaxed),
            self.0.reused.load(Ordering::Relaxed),
        )
    }

    /// Returns what there is for each proxy.
    #[cfg(feature = "client")]
    pub(crate) fn stats(&self) -> Vec<ProxyStats> {
        let entries = self.0.lock();
        let stats = entries.iter().map(|(key, entry)| ProxyStats {
            proxy: key.proxy.clone(),
            open: entry.connections,
            idle: entry.open.iter().filter(|open| open.link.active() == 0).count(),
            connecting: entry.attempts.len(),
            waiting: entry.waiters.len(),
            opened: entry.opened,
            reused: entry.reused,
        });
        stats
            .filter(|stats| stats.open + stats.connecting + stats.waiting > 0)
            .collect()
    }
}

/// The connections to one proxy, as data.
#[cfg(feature = "client")]
pub(crate) struct ProxyStats {
    pub(crate) proxy: ProxyServer,
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) connecting: usize,
    pub(crate) waiting: usize,
    /// Connections opened.
    pub(crate) opened: u64,
    /// Streams of connections that had carried others.
    pub(crate) reused: u64,
}

/// A waiter's place. Dropping it removes the waiter.
struct Waiting<'w> {
    registry: &'w Arc<Registry>,
    key: &'w Arc<Key>,
    place: entry::Place,
}

impl Waiting<'_> {
    fn join(&self, waiter: Waiter) {
        self.registry.change(self.key, |entry| {
            entry.waiters.insert(self.place, waiter);
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiter = self
            .registry
            .lock()
            .get_mut(self.key)
            .and_then(|entry| entry.waiters.remove(&self.place));
        drop(waiter);
    }
}

/// An attempt to connect. Dropping it lets another one begin.
pub(crate) struct Permit {
    registry: Weak<Registry>,
    key: Arc<Key>,
    number: u64,
    has_failed: bool,
}

impl Permit {
    /// Records that the attempt has failed.
    pub(crate) fn failed(mut self) {
        self.has_failed = true;
    }

    /// Returns a handle that knows if the attempt is of use to others.
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            registry: self.registry.clone(),
            key: self.key.clone(),
        }
    }
}

/// Knows if anybody waits for a stream of one proxy.
#[derive(Clone)]
pub(crate) struct Wish {
    registry: Weak<Registry>,
    key: Arc<Key>,
}

impl Wish {
    /// Returns true if somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.registry.upgrade().is_some_and(|registry| {
            let entries = registry.lock();
            entries.get(&self.key).is_some_and(|entry| !entry.waiters.is_empty())
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let (number, has_failed) = (self.number, self.has_failed);
        registry.change(&self.key, |entry| {
            if entry.attempts.remove(&number).is_some() && has_failed {
                entry.setbacks = entry.setbacks.saturating_add(1);
            }
            if entry.waiters.is_empty() && entry.attempts.is_empty() {
                entry.setbacks = 0;
            }
        });
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self) -> MutexGuard<'_, Option<Keeps>> {
        self.keeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a connection may stay when it carries nothing.
    fn keeps(&self, key: &Key, is_named: bool) -> bool {
        let rule = self.rule().clone();
        rule.is_none_or(|keeps| keeps(key, is_named))
    }

    /// Changes an entry, and then serves those who wait.
    fn change<R>(self: &Arc<Self>, key: &Arc<Key>, change: impl FnOnce(&mut Entry) -> R) -> R {
        let mut served = Vec::new();
        let mut entries = self.lock();
        if entries.len() >= MANY && !entries.contains_key(key) {
            entries.retain(|_, entry| !entry.is_empty());
        }
        let entry = entries.entry(key.clone()).or_default();
        let result = change(entry);
        let over = entry.refresh();
        let mut from = (Use::Tunnel, 0);
        while let Some((&place, _)) = entry.waiters.range(from..).next() {
            from = place;
            let (wanted, _) = place;
            let offer = entry.offer(wanted, self.settings.streams(), self.settings.max_connections);
            let turn = match offer {
                Some(Offer::Stream(index)) => Turn::Stream(self.stream(key, entry, index)),
                Some(Offer::Attempt) => Turn::Connect(self.attempt(key, entry)),
                Some(Offer::Http1 { is_only }) => Turn::Http1 { is_only },
                None => {
                    // Nor can those behind it have anything.
                    from = (wanted, u64::MAX);
                    continue;
                }
            };
            served.extend(entry.waiters.remove(&place).map(|waiter| (waiter, turn)));
        }
        drop(entries);
        drop(over);
        for (waiter, turn) in served {
            // If the waiter has left just now, its turn is dropped, which serves the next one.
            let _ = waiter.send(turn);
        }
        result
    }

    fn stream(self: &Arc<Self>, key: &Arc<Key>, entry: &mut Entry, index: usize) -> Lease {
        let lease = self.lease(key, &mut entry.open[index]);
        let reused = u64::from(lease.is_reused);
        entry.reused += reused;
        self.reused.fetch_add(reused, Ordering::Relaxed);
        lease
    }

    fn lease(self: &Arc<Self>, key: &Arc<Key>, open: &mut Open) -> Lease {
        open.link.begin();
        Lease {
            registry: Arc::downgrade(self),
            key: key.clone(),
            id: open.id,
            sender: open.sender.clone(),
            link: open.link.clone(),
            is_reused: std::mem::replace(&mut open.has_served, true),
            sent: None,
            is_answered: false,
            is_tunnel: false,
        }
    }

    fn attempt(self: &Arc<Self>, key: &Arc<Key>, entry: &mut Entry) -> Permit {
        let number = number();
        entry.attempts.insert(number, Instant::now());
        Permit {
            registry: Arc::downgrade(self),
            key: key.clone(),
            number,
            has_failed: false,
        }
    }

    fn opened<T>(
        self: &Arc<Self>,
        key: &Arc<Key>,
        permit: Option<Permit>,
        new: NewConnection<T>,
        is_named: bool,
    ) -> Lease
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let NewConnection { sender, link, task } = new;
        let id = number();
        let place = Registration {
            registry: Arc::downgrade(self),
            key: key.clone(),
            id,
        };
        let mut open = Open::new(id, sender, link, is_named);
        let lease = self.lease(key, &mut open);
        self.change(key, |entry| {
            if let Some(permit) = &permit {
                entry.attempts.remove(&permit.number);
            }
            entry.setbacks = 0;
            entry.set_chosen(Speaks::Http2);
            entry.open.push(open);
            entry.connections += 1;
            entry.opened += 1;
            self.opened.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(task.run(place));
        lease
    }

    /// Records that the peer of a connection allows another number of streams.
    pub(super) fn settled(self: &Arc<Self>, key: &Arc<Key>, id: u64) {
        self.change(key, |entry| {
            let streams = entry.find(id).and_then(|open| open.link.streams.get());
            entry.streams = streams.or(entry.streams);
        });
    }

    /// Records an answer, and whether it opened a tunnel.
    pub(super) fn answered(self: &Arc<Self>, lease: &Lease, has_opened: Option<bool>) {
        self.change(&lease.key, |entry| entry.set_answered(lease.id, has_opened));
    }

    /// Records that another connection was faster.
    pub(super) fn was_overtaken(self: &Arc<Self>, key: &Arc<Key>, id: u64, is_silent: bool) {
        self.change(key, |entry| entry.set_overtaken(id, is_silent));
    }

    /// Handles the end of a request.
    pub(super) fn released(self: &Arc<Self>, lease: &Lease) {
        let given_up_in_silence =
            !lease.is_answered && lease.sent.is_some_and(|sent| sent.elapsed() >= PATIENCE) && lease.is_silent();
        let mut removed = None;
        self.change(&lease.key, |entry| {
            lease.link.end();
            let Some(open) = entry.find(lease.id) else { return };
            open.answered -= usize::from(lease.is_answered);
            open.tunnels -= usize::from(lease.is_tunnel);
            if given_up_in_silence {
                open.suspected = Some(Instant::now());
                // If it is dead, it is to make room for another one.
                open.link.want_ping();
            }
            if open.link.active() == 0 && !self.keeps(&lease.key, open.is_named) {
                removed = entry.remove(lease.id);
            }
        });
    }

    /// Returns true if a connection can be given to others.
    pub(super) fn has(&self, key: &Arc<Key>, id: u64) -> bool {
        let entries = self.lock();
        let entry = entries.get(key);
        entry.is_some_and(|entry| entry.open.iter().any(|open| open.id == id))
    }

    /// Removes a connection that nobody uses, so that h2 closes it.
    pub(super) fn withdraw_idle(&self, key: &Arc<Key>, id: u64) {
        let mut entries = self.lock();
        let removed = entries.get_mut(key).and_then(|entry| {
            let index = entry
                .open
                .iter()
                .position(|open| open.id == id && open.link.active() == 0)?;
            Some(entry.open.remove(index))
        });
        drop(entries);
        drop(removed);
    }

    /// Handles the end of a connection.
    pub(super) fn closed(self: &Arc<Self>, key: &Arc<Key>, id: u64) {
        let mut removed = None;
        self.change(key, |entry| {
            removed = entry.remove(id);
            entry.connections -= 1;
        });
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: usize = self.0.lock().values().map(|entry| entry.open.len()).sum();
        f.debug_struct("Connections").field("open", &open).finish()
    }
}
