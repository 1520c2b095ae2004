//! [`Account`]: the credentials for one proxy, and the provider that is asked for them.
//!
//! An account belongs to one proxy, and so do its password, its nonces and its tokens. A request takes an
//! [`Authentication`] from it. If the proxy refuses that, it is [exchanged](Account::exchange) for a better one, if
//! there is any. Of the requests that are refused at a time, one asks the provider.

use std::{
    fmt, mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderValue;
use tokio::{sync::Notify, time::Instant};

use super::{
    Challenge, Credentials, Schemes,
    authentication::{Answer, Authentication},
    provider::{Authorization, BoxError, CredentialsRequest, Kind, Provider, ProxyAddress},
};

/// The number of the next identity or exchange. No two accounts have the same identity, so that no connection is for
/// two of them.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The credentials for one proxy.
pub(crate) struct Account {
    /// `None` if the proxy's address has the credentials, or there are none.
    provider: Option<(Provider, ProxyAddress)>,
    state: Mutex<State>,
    /// Wakes those who wait for the provider's answer to another request.
    answered: Notify,
}

struct State {
    answer: Answer,
    /// The number of answers.
    answers: u64,
    /// The number of answers that were not the one before.
    changes: u64,
    /// For whom requests are sent. Zero if the proxy's address says so.
    identity: u64,
    name: Option<Arc<str>>,
    until: Option<Instant>,
    is_asking: bool,
    /// The failure of the last question.
    failure: Option<Arc<str>>,
}

impl Account {
    /// Creates the account of the credentials in a proxy's address.
    pub(crate) fn fixed(credentials: Option<Credentials>) -> Self {
        Self::new(None, Answer::of(credentials), 0)
    }

    /// Creates an account that a provider answers for.
    pub(crate) fn provided(provider: Provider, proxy: ProxyAddress) -> Self {
        Self::new(Some((provider, proxy)), Answer::Unknown, next_number())
    }

    fn new(provider: Option<(Provider, ProxyAddress)>, answer: Answer, identity: u64) -> Self {
        Self {
            provider,
            state: Mutex::new(State {
                answer,
                answers: 0,
                changes: 0,
                identity,
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

    /// Returns true if the last answer has expired.
    pub(crate) fn is_expired(&self) -> bool {
        let state = self.lock();
        !state.answer.is_for_each_request() && state.is_expired()
    }

    /// Returns what a request sends, if the provider need not be asked for it.
    pub(crate) fn authentication_now(&self) -> Option<Authentication> {
        let state = self.lock();
        match state.answer {
            Answer::Unknown | Answer::Once(_) => None,
            _ if state.is_expired() => None,
            _ => Some(state.authentication()),
        }
    }

    /// Returns what a request sends. Asks the provider if that is necessary.
    pub(crate) async fn authentication(&self) -> Result<Authentication, BoxError> {
        match self.authentication_now() {
            Some(authentication) => Ok(authentication),
            None => {
                let mut authentication = self.unasked();
                self.ask(&mut authentication, &[]).await?;
                Ok(authentication)
            }
        }
    }

    /// Returns an authentication that sends nothing, for a request that does not wait for the provider.
    pub(crate) fn unasked(&self) -> Authentication {
        let mut authentication = self.lock().authentication();
        authentication.answer = Answer::Unknown;
        authentication
    }

    /// Exchanges an authentication that the proxy refused. Returns false if there is nothing better to send.
    pub(crate) async fn exchange(
        &self,
        refused: &mut Authentication,
        challenges: &[Challenge],
        schemes: Schemes,
    ) -> Result<bool, BoxError> {
        if !refused.may_be_tried_again(challenges) {
            return Ok(false);
        }
        if self.learn(refused, challenges, schemes) {
            return Ok(true);
        }
        if self.provider.is_none() || !refused.may_ask(challenges) {
            return Ok(false);
        }
        let before = refused.changes;
        self.ask(refused, challenges).await?;
        // The same credentials are not sent again, since that could lock an account.
        let is_new = refused.is_once() || refused.changes != before;
        Ok(is_new && refused.suits(challenges, schemes))
    }

    /// Exchanges an authentication that the proxy refused, if nobody need be asked for a better one.
    pub(crate) fn learn(&self, refused: &mut Authentication, challenges: &[Challenge], schemes: Schemes) -> bool {
        {
            let state = self.lock();
            if !refused.is_once() && state.changes > refused.changes && !state.answer.is_for_each_request() {
                refused.renew(state.authentication());
                drop(state);
                return refused.suits(challenges, schemes);
            }
        }
        refused.learn(challenges, schemes)
    }

    /// Asks the provider, or waits for its answer to another request.
    async fn ask(&self, asking: &mut Authentication, challenges: &[Challenge]) -> Result<(), BoxError> {
        let Some((provider, proxy)) = &self.provider else {
            return Ok(());
        };
        let request = CredentialsRequest {
            proxy: proxy.clone(),
            challenges: challenges.to_vec(),
            round: asking.tries.into(),
            exchange: *asking.exchange.get_or_insert_with(next_number),
        };
        loop {
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            match self.turn(asking) {
                Turn::Own => return self.ask_now(provider, request, asking).await,
                Turn::First => {
                    let _question = Question(self);
                    return self.ask_now(provider, request, asking).await;
                }
                Turn::Wait => answered.await,
                Turn::Over(result) => return result,
            }
        }
    }

    /// Returns the turn of a request that is about to ask.
    fn turn(&self, asking: &mut Authentication) -> Turn {
        let mut state = self.lock();
        if asking.is_once() || matches!(state.answer, Answer::Once(_)) {
            return Turn::Own;
        }
        if state.answers > asking.answers {
            return Turn::Over(match &state.failure {
                Some(failure) => Err(failure.as_ref().into()),
                None => {
                    asking.renew(state.authentication());
                    Ok(())
                }
            });
        }
        match mem::replace(&mut state.is_asking, true) {
            true => Turn::Wait,
            false => Turn::First,
        }
    }

    async fn ask_now(
        &self,
        provider: &Provider,
        request: CredentialsRequest,
        asking: &mut Authentication,
    ) -> Result<(), BoxError> {
        let answer = provider.ask(request).await;
        let mut state = self.lock();
        state.answers += 1;
        match answer {
            // It has nothing better for this request, and may have for the next one.
            Ok(answer) if asking.is_once() && matches!(answer.kind, Kind::Nothing) => {
                asking.answer = Answer::Nothing;
                Ok(())
            }
            Ok(answer) => {
                let once = state.set(answer);
                asking.renew(state.authentication());
                if let Some(value) = once {
                    asking.answer = Answer::Once(Some(value));
                }
                Ok(())
            }
            Err(error) => {
                state.failure = Some(error.to_string().into());
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The turn of a request to ask the provider.
enum Turn {
    /// The answer is for this request alone.
    Own,
    /// The answer is for all.
    First,
    /// Another request asks.
    Wait,
    /// Another request has asked.
    Over(Result<(), BoxError>),
}

/// A question that is under way. Dropping it lets another request ask.
struct Question<'a>(&'a Account);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.lock().is_asking = false;
        self.0.answered.notify_waiters();
    }
}

impl State {
    fn is_expired(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn authentication(&self) -> Authentication {
        Authentication::new(self.answer.clone(), self.identity, self.answers, self.changes)
    }

    /// Takes the provider's answer. Returns the value that serves once, if it is one.
    fn set(&mut self, authorization: Authorization) -> Option<HeaderValue> {
        let Authorization {
            kind,
            lifetime,
            identity: name,
        } = authorization;
        let (answer, once) = match kind {
            Kind::Nothing => (Answer::Nothing, None),
            Kind::Password(credentials) => (Answer::of(Some(credentials)), None),
            Kind::Value(value) => (Answer::Value(value), None),
            Kind::Once(value) => (Answer::Once(None), Some(value)),
        };
        let is_same = self.answer == answer;
        let is_same_person = match (&name, &self.name) {
            (Some(new), Some(old)) => new == old,
            // Nobody says for whom a value is that serves once.
            (None, None) => is_same && once.is_none(),
            _ => false,
        };
        // The first answer stands for whom requests had in mind all the time.
        if !is_same_person && self.answer != Answer::Unknown {
            self.identity = next_number();
        }
        // The same password keeps its nonce.
        if !is_same {
            self.changes += 1;
            self.answer = answer;
        }
        self.name = name;
        self.until = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        self.failure = None;
        once
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}
