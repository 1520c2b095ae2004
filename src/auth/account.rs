//! [`Account`]: how requests authenticate to one proxy, and what that proxy has answered.
//!
//! An account belongs to one proxy, and so do its password, its nonces and its tokens. Nothing else makes a
//! `Proxy-Authorization` value.
//!
//! A request takes a [`Ticket`], which has the value to send. If the proxy refuses that, the ticket is
//! [exchanged](Account::exchange) for a better one, if there is any: other requests may have got one meanwhile, the
//! password can answer a stronger scheme, a nonce is stale, or the provider has something else. Of the requests that
//! are refused at a time, one asks the provider.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderValue, Method};
use tokio::{sync::Notify, time::Instant};

use super::{
    Challenge, Credentials,
    digest::Digest,
    echo::hide,
    provider::{Authorization, BoxError, CredentialsRequest, Kind, Provider, ProxyAddress},
    scheme::Schemes,
};

/// The most answers to one request. A proxy that asks more often is not to be pleased.
const MOST_TRIES: u32 = 3;

/// The most rounds on one connection.
const MOST_ROUNDS: u32 = 8;

/// How requests authenticate to one proxy.
pub(crate) struct Account {
    /// `None` if the proxy's address has the credentials, or there are none.
    provider: Option<(Provider, ProxyAddress)>,
    state: Mutex<State>,
    /// Wakes those who wait for the provider's answer to another request.
    answered: Notify,
}

struct State {
    answer: Answer,
    /// Changes with each answer.
    generation: u64,
    /// Changes with each answer that is another one.
    changes: u64,
    /// Changes with each answer that stands for somebody else.
    identity: u64,
    name: Option<Arc<str>>,
    until: Option<Instant>,
    is_asking: bool,
    /// The failure of the last question.
    failure: Option<Arc<str>>,
}

#[derive(PartialEq)]
enum Answer {
    /// The provider is to be asked.
    Unknown,
    Nothing,
    Password(Box<Password>),
    Value(HeaderValue),
    /// The provider is to be asked for each request.
    Once,
}

/// A user name and a password, and the scheme in which the proxy wants them.
struct Password {
    credentials: Credentials,
    basic: HeaderValue,
    digest: Option<Digest>,
    /// True if the proxy has taken Basic, and no challenge is expected any more.
    is_settled: bool,
}

/// What one request sends.
#[derive(Clone)]
pub(crate) struct Ticket {
    generation: u64,
    tries: u32,
    /// True if the provider was asked for something else than what was refused.
    has_asked: bool,
    used: Used,
    /// A value that serves once.
    once: Option<HeaderValue>,
}

/// The answer to a challenge that was not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// There are no credentials.
    Nothing,
    /// The credentials do not answer any scheme that the proxy offers.
    NotPossible,
    /// The proxy refused what was sent.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Used {
    Nothing,
    Basic,
    Digest,
    Value,
}

impl Account {
    /// Creates the account of the credentials in a proxy's address.
    pub(crate) fn fixed(credentials: Option<Credentials>) -> Self {
        Self::new(None, Answer::of(credentials))
    }

    /// Creates an account that a provider answers for.
    pub(crate) fn provided(provider: Provider, proxy: ProxyAddress) -> Self {
        Self::new(Some((provider, proxy)), Answer::Unknown)
    }

    fn new(provider: Option<(Provider, ProxyAddress)>, answer: Answer) -> Self {
        Self {
            provider,
            state: Mutex::new(State {
                answer,
                generation: 0,
                changes: 0,
                identity: 0,
                name: None,
                until: None,
                is_asking: false,
                failure: None,
            }),
            answered: Notify::new(),
        }
    }

    /// Returns the number of the identity that requests have now.
    pub(crate) fn identity(&self) -> u64 {
        self.lock().identity
    }

    /// Returns true if a request may be refused once before it is answered.
    pub(crate) fn may_be_challenged(&self) -> bool {
        match &self.lock().answer {
            Answer::Nothing => self.provider.is_some(),
            Answer::Password(password) => password.digest.is_some() || !password.is_settled,
            Answer::Unknown | Answer::Value(_) | Answer::Once => true,
        }
    }

    /// Returns a ticket, if the provider need not be asked for it.
    pub(crate) fn ticket_now(&self) -> Option<Ticket> {
        let state = self.lock();
        match state.answer {
            Answer::Unknown | Answer::Once => None,
            _ if state.until.is_some_and(|until| until <= Instant::now()) => None,
            _ => Some(Ticket::new(state.generation)),
        }
    }

    /// Returns a ticket. Asks the provider if that is necessary.
    pub(crate) async fn ticket(&self) -> Result<Ticket, BoxError> {
        match self.ticket_now() {
            Some(ticket) => Ok(ticket),
            None => {
                let mut ticket = Ticket::new(self.lock().generation);
                self.ask(&mut ticket, &[]).await?;
                Ok(ticket)
            }
        }
    }

    /// Returns the value of `Proxy-Authorization` for a request that is about to be sent.
    pub(crate) fn authorization(
        &self,
        ticket: &mut Ticket,
        schemes: Schemes,
        method: &Method,
        uri: &dyn fmt::Display,
    ) -> Option<HeaderValue> {
        if let Some(value) = &ticket.once {
            ticket.used = Used::Value;
            return Some(value.clone());
        }
        let mut state = self.lock();
        ticket.generation = state.generation;
        let (used, value) = match &mut state.answer {
            Answer::Unknown | Answer::Nothing | Answer::Once => (Used::Nothing, None),
            Answer::Value(value) => (Used::Value, Some(value.clone())),
            Answer::Password(password) => password.value(schemes, method, uri),
        };
        ticket.used = used;
        value
    }

    /// Notes that a proxy has taken what the ticket sent.
    pub(crate) fn accepted(&self, ticket: &Ticket) {
        if ticket.used == Used::Basic {
            if let Answer::Password(password) = &mut self.lock().answer {
                password.is_settled = true;
            }
        }
    }

    /// Exchanges a ticket that the proxy refused. Returns false if there is nothing better to send.
    pub(crate) async fn exchange(
        &self,
        ticket: &mut Ticket,
        challenges: &[Challenge],
        schemes: Schemes,
    ) -> Result<bool, BoxError> {
        ticket.tries += 1;
        let most = if ticket.once.is_some() { MOST_ROUNDS } else { MOST_TRIES };
        if ticket.tries >= most {
            return Ok(false);
        }
        if self.learn(ticket, challenges, schemes) {
            return Ok(true);
        }
        let has_more = ticket.once.is_some() || !std::mem::replace(&mut ticket.has_asked, true);
        if self.provider.is_none() || !has_more {
            return Ok(false);
        }
        let before = self.lock().changes;
        self.ask(ticket, challenges).await?;
        let state = self.lock();
        // What was refused is not sent again.
        Ok(ticket.once.is_some() || (state.changes != before && !matches!(state.answer, Answer::Nothing)))
    }

    /// Returns true if there is something better to send, for which nobody need be asked.
    pub(crate) fn learn(&self, ticket: &Ticket, challenges: &[Challenge], schemes: Schemes) -> bool {
        let mut state = self.lock();
        if ticket.once.is_none() && state.generation > ticket.generation {
            return !matches!(state.answer, Answer::Unknown | Answer::Once);
        }
        let Answer::Password(password) = &mut state.answer else {
            return false;
        };
        let is_offered = |name: &str| challenges.iter().any(|one| one.scheme().eq_ignore_ascii_case(name));
        let offered =
            Digest::strongest(challenges).filter(|_| schemes.digest && password.credentials.as_str().is_some());
        let is_new = match (ticket.used, offered) {
            (Used::Digest, Some(offered)) => match &password.digest {
                Some(known) if known.is_outdated_by(&offered) => {
                    password.digest = Some(offered);
                    true
                }
                Some(_) => false,
                None => unreachable!("a digest was used"),
            },
            (Used::Nothing | Used::Basic, Some(offered)) => {
                password.digest = Some(offered);
                true
            }
            // It wants Basic after all.
            (Used::Digest, None) if schemes.basic && is_offered("Basic") => {
                password.digest = None;
                true
            }
            (Used::Nothing, None) => {
                password.is_settled = true;
                schemes.basic && is_offered("Basic")
            }
            _ => false,
        };
        if is_new {
            state.generation += 1;
        }
        is_new
    }

    /// Asks the provider, or waits for its answer to another request.
    async fn ask(&self, ticket: &mut Ticket, challenges: &[Challenge]) -> Result<(), BoxError> {
        let Some((provider, proxy)) = &self.provider else {
            return Ok(());
        };
        let request = CredentialsRequest {
            proxy: proxy.clone(),
            challenges: challenges.to_vec(),
            round: ticket.tries,
        };
        // Each request has an answer of its own.
        if ticket.once.is_some() || matches!(self.lock().answer, Answer::Once) {
            let answer = self.provider_answer(provider, request).await?;
            self.take(ticket, answer);
            return Ok(());
        }
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            {
                let mut state = self.lock();
                if state.generation > ticket.generation && !matches!(state.answer, Answer::Unknown | Answer::Once) {
                    return Ok(());
                }
                if let Some(failure) = state.failure.clone().filter(|_| state.generation > ticket.generation) {
                    return Err(failure.as_ref().into());
                }
                if !std::mem::replace(&mut state.is_asking, true) {
                    break;
                }
            }
            answered.await;
        }
        let asking = Asking(self);
        let answer = asking.0.provider_answer(provider, request).await;
        drop(asking);
        self.take(ticket, answer?);
        Ok(())
    }

    async fn provider_answer(
        &self,
        provider: &Provider,
        request: CredentialsRequest,
    ) -> Result<Authorization, BoxError> {
        let is_refused = request.round > 0;
        let answer = provider.ask(request).await;
        let mut state = self.lock();
        match &answer {
            // It has nothing better for this request, and may have for the next one.
            Ok(answer) if is_refused && matches!((&answer.kind, &state.answer), (Kind::Nothing, Answer::Once)) => {}
            Ok(answer) => state.set(answer),
            Err(error) => {
                state.generation += 1;
                state.failure = Some(error.to_string().into());
            }
        }
        answer
    }

    /// Takes an answer of the provider for a ticket.
    fn take(&self, ticket: &mut Ticket, answer: Authorization) {
        ticket.once = match answer.kind {
            Kind::Once(value) => Some(value),
            _ => None,
        };
        ticket.generation = self.lock().generation;
    }

    /// Returns true if there is something to hide.
    pub(crate) fn has_secrets(&self) -> bool {
        matches!(self.lock().answer, Answer::Password(_) | Answer::Value(_))
    }

    /// Hides the credentials, in any spelling, in a text that the proxy sent back.
    pub(crate) fn redact(&self, text: &[u8]) -> Vec<u8> {
        let state = self.lock();
        let (password, value) = match &state.answer {
            Answer::Password(password) => (password.credentials.password.as_deref(), Some(&password.basic)),
            Answer::Value(value) => (None, Some(value)),
            Answer::Unknown | Answer::Nothing | Answer::Once => (None, None),
        };
        // What follows the scheme. An echo may lack the padding.
        let token = value.and_then(|value| value.as_bytes().split(|byte| *byte == b' ').nth(1));
        let token = token.and_then(|token| token.split(|byte| *byte == b'=').next());
        // Hiding one or two characters would garble the words of the explanation.
        let secrets = [token, password]
            .into_iter()
            .flatten()
            .filter(|secret| secret.len() > 2);
        secrets.fold(text.to_vec(), |text, secret| hide(&text, secret))
    }

    /// Returns the reason why the ticket's request was refused.
    pub(crate) fn answered(&self, ticket: &Ticket) -> Answered {
        match ticket.used {
            Used::Nothing if self.has_nothing() => Answered::Nothing,
            Used::Nothing => Answered::NotPossible,
            Used::Basic | Used::Digest | Used::Value => Answered::Refused,
        }
    }

    /// Returns true if there is nothing to send, now or when the proxy asks.
    fn has_nothing(&self) -> bool {
        self.provider.is_none() && matches!(self.lock().answer, Answer::Nothing)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is under way. Dropping it lets another request ask.
struct Asking<'a>(&'a Account);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().is_asking = false;
        self.0.answered.notify_waiters();
    }
}

impl State {
    fn set(&mut self, answer: &Authorization) {
        let answer_kind = match &answer.kind {
            Kind::Nothing => Answer::Nothing,
            Kind::Password(credentials) => Answer::of(Some(credentials.clone())),
            Kind::Value(value) => {
                let mut value = value.clone();
                value.set_sensitive(true);
                Answer::Value(value)
            }
            Kind::Once(_) => Answer::Once,
        };
        let is_same = self.answer == answer_kind;
        let is_same_person = match (&answer.identity, &self.name) {
            (Some(new), Some(old)) => new == old,
            (None, None) => is_same,
            _ => false,
        };
        self.changes += u64::from(!is_same);
        // The first answer stands for whom requests had in mind all the time.
        self.identity += u64::from(!is_same_person && self.answer != Answer::Unknown);
        self.name.clone_from(&answer.identity);
        self.until = answer
            .lifetime
            .and_then(|lifetime| Instant::now().checked_add(lifetime));
        self.answer = answer_kind;
        self.failure = None;
        self.generation += 1;
    }
}

impl Answer {
    fn of(credentials: Option<Credentials>) -> Self {
        credentials.map_or(Self::Nothing, |credentials| {
            Self::Password(Box::new(Password {
                basic: credentials.to_basic(),
                credentials,
                digest: None,
                is_settled: false,
            }))
        })
    }
}

/// Passwords are equal if the proxy cannot tell them apart.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.credentials == other.credentials
    }
}

impl Password {
    /// Returns the value to send, and its scheme. Basic is sent unasked, unless it must not be sent at all.
    fn value(&mut self, schemes: Schemes, method: &Method, uri: &dyn fmt::Display) -> (Used, Option<HeaderValue>) {
        if let Some(digest) = self.digest.as_mut().filter(|_| schemes.digest) {
            if let Some(value) = digest.answer(&self.credentials, method, &uri.to_string()) {
                return (Used::Digest, Some(value));
            }
            // The nonce has served as often as it can.
            self.digest = None;
            return (Used::Nothing, None);
        }
        match schemes.basic {
            true => (Used::Basic, Some(self.basic.clone())),
            false => (Used::Nothing, None),
        }
    }
}

/// The ticket of a request that is sent before a provider has answered.
impl Default for Ticket {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Ticket {
    fn new(generation: u64) -> Self {
        Self {
            generation,
            tries: 0,
            has_asked: false,
            used: Used::Nothing,
            once: None,
        }
    }

    /// Returns true if the answer belongs to one connection, on which the next round goes out.
    pub(crate) fn is_for_one_connection(&self) -> bool {
        self.once.is_some()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}
