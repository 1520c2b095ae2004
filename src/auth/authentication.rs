//! [`Authentication`]: how one request authenticates to a proxy. Nothing else makes a `Proxy-Authorization` value.

use std::{fmt, mem, sync::Arc};

use http::{HeaderValue, Method};

use super::{
    Challenge, Credentials, Schemes,
    digest::Digest,
    echo::hide,
    password::{Password, Refused},
};

/// The most answers to one request. A proxy that asks more often is not to be pleased.
const MOST_TRIES: u8 = 4;

/// The most rounds on one connection.
const MOST_ROUNDS: u8 = 8;

/// The way in which one request authenticates.
#[derive(Clone)]
pub(crate) struct Authentication {
    pub(super) answer: Answer,
    /// Connections that requests share ask for it.
    #[cfg_attr(not(feature = "http2"), allow(dead_code))]
    identity: u64,
    pub(super) answers: u64,
    pub(super) changes: u64,
    /// The number of answers that were refused, or are to be continued.
    pub(super) tries: u8,
    /// The number of the exchange with the provider, if it was asked for this request.
    pub(super) exchange: Option<u64>,
    /// True if the provider was asked for something else than what was refused.
    has_asked: bool,
    /// A nonce for this request alone, of the challenge to it. Nobody can use it out of turn. It is for all once the
    /// proxy has accepted it.
    own: Option<Arc<Digest>>,
    sent: Sent,
    /// The values that were sent before.
    spent: Vec<Sent>,
}

/// The credentials for requests.
#[derive(Clone, PartialEq)]
pub(super) enum Answer {
    /// The provider is to be asked.
    Unknown,
    Nothing,
    Password(Arc<Password>),
    Value(HeaderValue),
    /// The provider is to be asked for each request. Has a value that serves one request.
    Once(Option<HeaderValue>),
}

/// The value that was sent.
#[derive(Clone)]
enum Sent {
    Nothing,
    Basic(HeaderValue),
    /// True if the proxy has not accepted the nonce before.
    Digest(HeaderValue, bool),
    Value(HeaderValue),
}

/// The reason why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// There are no credentials.
    Nothing,
    /// The provider has none.
    NotProvided,
    /// The credentials do not answer any scheme that the proxy offers.
    NotPossible,
    /// The proxy refused the user name and password.
    Password,
    /// The proxy refused another value.
    Value,
}

impl Answer {
    pub(super) fn of(credentials: Option<Credentials>) -> Self {
        credentials.map_or(Self::Nothing, |credentials| {
            Self::Password(Arc::new(Password::new(credentials)))
        })
    }

    /// Returns true if each request has an answer of its own.
    pub(super) fn is_for_each_request(&self) -> bool {
        matches!(self, Self::Unknown | Self::Once(_))
    }
}

impl Authentication {
    pub(super) fn new(answer: Answer, identity: u64, answers: u64, changes: u64) -> Self {
        Self {
            answer,
            identity,
            answers,
            changes,
            tries: 0,
            exchange: None,
            has_asked: false,
            own: None,
            sent: Sent::Nothing,
            spent: Vec::new(),
        }
    }

    /// Returns the number of the identity that this stands for. A connection is for one.
    #[cfg(feature = "http2")]
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Returns the value of `Proxy-Authorization` for a request that is about to be sent.
    pub(crate) fn authorization(
        &mut self,
        schemes: Schemes,
        method: &Method,
        uri: &dyn fmt::Display,
    ) -> Option<HeaderValue> {
        let sent = match &self.answer {
            Answer::Unknown | Answer::Nothing | Answer::Once(None) => Sent::Nothing,
            Answer::Value(value) | Answer::Once(Some(value)) => Sent::Value(value.clone()),
            Answer::Password(password) => {
                let digest = self.own.clone().or_else(|| password.digest());
                match digest.filter(|_| schemes.digest) {
                    Some(digest) => match digest.answer(password.credentials(), method, &uri.to_string()) {
                        // One of its own has not been refused, however often it was sent.
                        Some((value, is_first)) => Sent::Digest(value, is_first || self.own.is_some()),
                        // The nonce has served as often as it can.
                        None => Sent::Nothing,
                    },
                    None if schemes.basic => Sent::Basic(password.basic().clone()),
                    None => Sent::Nothing,
                }
            }
        };
        self.forget_sent();
        self.sent = sent;
        self.sent.value().cloned()
    }

    /// Counts what was sent as spent.
    fn forget_sent(&mut self) {
        let before = mem::replace(&mut self.sent, Sent::Nothing);
        if before.value().is_some() {
            self.spent.push(before);
        }
    }

    /// Notes that the proxy has accepted what was sent.
    pub(crate) fn accepted(&self) {
        let Answer::Password(password) = &self.answer else {
            return;
        };
        match (&self.sent, &self.own) {
            (Sent::Digest(..), Some(own)) => password.set_digest(own.clone()),
            (Sent::Basic(_), _) => password.settle(),
            _ => {}
        }
    }

    /// Lets further requests use what this one has learned, though the proxy has not accepted it yet.
    pub(crate) fn publish(&self) {
        if let (Answer::Password(password), Some(own)) = (&self.answer, &self.own) {
            password.set_digest(own.clone());
        }
    }

    /// Returns true if the request may be refused before it is answered, and then be worth repeating.
    pub(crate) fn may_be_challenged(&self, schemes: Schemes) -> bool {
        match &self.answer {
            Answer::Nothing => self.answers > 0,
            Answer::Password(password) => self.answers > 0 || !schemes.basic || !password.is_settled(),
            Answer::Unknown | Answer::Value(_) | Answer::Once(_) => true,
        }
    }

    /// Returns true if a refusal is likely enough for a long body to wait for it: the scheme of a password is not
    /// settled, or its nonce may be stale.
    #[cfg(feature = "client")]
    pub(crate) fn is_likely_to_be_challenged(&self, schemes: Schemes) -> bool {
        match &self.answer {
            Answer::Password(password) => !schemes.basic || !password.is_settled(),
            Answer::Nothing | Answer::Unknown => self.may_be_challenged(schemes),
            Answer::Value(_) | Answer::Once(_) => false,
        }
    }

    /// Returns true if the value serves one request, or one connection on which the next round goes out.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self.answer, Answer::Once(Some(_)))
    }

    /// Returns true if there are credentials for the proxy, or a provider may have some.
    pub(crate) fn may_have_credentials(&self) -> bool {
        !matches!(self.answer, Answer::Nothing)
    }

    /// Returns true if the proxy wants the exchange continued on the same connection (RFC 4559 5).
    pub(crate) fn is_continued(&self, challenges: &[Challenge]) -> bool {
        let sent = self.sent.value().filter(|_| self.is_once());
        let scheme = sent.and_then(|value| value.to_str().ok()?.split(' ').next());
        let is_next = |challenge: &Challenge| {
            challenge.token68().is_some()
                && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(challenge.scheme()))
        };
        challenges.iter().any(is_next)
    }

    /// Counts an answer of the proxy. Returns false if there were too many.
    pub(super) fn may_be_tried_again(&mut self, challenges: &[Challenge]) -> bool {
        self.tries += 1;
        let most = match self.is_continued(challenges) {
            true => MOST_ROUNDS,
            false => MOST_TRIES,
        };
        self.tries < most
    }

    /// Returns true if the provider may be asked again for this request.
    pub(super) fn may_ask(&mut self, challenges: &[Challenge]) -> bool {
        self.is_continued(challenges) || !mem::replace(&mut self.has_asked, true)
    }

    /// Prepares a new answer for the challenges that the last one met. Returns false if it does not answer them.
    pub(super) fn suits(&mut self, challenges: &[Challenge], schemes: Schemes) -> bool {
        match &self.answer {
            Answer::Unknown | Answer::Nothing | Answer::Once(None) => false,
            Answer::Value(_) | Answer::Once(Some(_)) => true,
            Answer::Password(_) => self.learn(challenges, schemes),
        }
    }

    /// Takes a newer answer.
    pub(super) fn renew(&mut self, newer: Self) {
        // The proxy may still say it back.
        self.forget_sent();
        *self = Self {
            tries: self.tries,
            exchange: self.exchange,
            has_asked: self.has_asked,
            spent: mem::take(&mut self.spent),
            ..newer
        };
    }

    /// Learns from the challenges that answered this request. Returns true if there is something better to send.
    pub(super) fn learn(&mut self, challenges: &[Challenge], schemes: Schemes) -> bool {
        let Answer::Password(password) = &self.answer else {
            return false;
        };
        let refused = match &self.sent {
            Sent::Nothing | Sent::Value(_) => Refused::Nothing,
            Sent::Basic(_) => Refused::Basic,
            Sent::Digest(_, is_first) => Refused::Digest { is_first: *is_first },
        };
        match password.better(refused, challenges, schemes) {
            Some(own) => {
                self.own = own;
                true
            }
            None => false,
        }
    }

    /// Returns the reason why the request was refused.
    pub(crate) fn answered(&self) -> Answered {
        match (&self.sent, &self.answer) {
            (Sent::Nothing, Answer::Nothing) if self.answers > 0 => Answered::NotProvided,
            (Sent::Nothing, Answer::Nothing) => Answered::Nothing,
            (Sent::Nothing, _) => Answered::NotPossible,
            (Sent::Basic(_) | Sent::Digest(..), _) => Answered::Password,
            (Sent::Value(_), _) => Answered::Value,
        }
    }

    /// Returns true if there is something to hide.
    pub(crate) fn has_secrets(&self) -> bool {
        matches!(self.answer, Answer::Password(_)) || self.sent.value().is_some() || !self.spent.is_empty()
    }

    /// Hides the credentials, in any spelling, in a text that the proxy sent back.
    pub(crate) fn redact(&self, text: &[u8]) -> Vec<u8> {
        let password = match &self.answer {
            Answer::Password(password) => [
                token(password.basic().as_bytes()),
                password.credentials().password.as_deref(),
            ],
            _ => [None; 2],
        };
        let sent = self.spent.iter().chain([&self.sent]).map(Sent::secret);
        let mut text = text.to_vec();
        // Hiding one or two characters would garble the words of the explanation.
        for secret in sent.chain(password).flatten().filter(|secret| secret.len() > 2) {
            text = hide(&text, secret);
        }
        text
    }
}

impl Sent {
    fn value(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Basic(value) | Self::Digest(value, _) | Self::Value(value) => Some(value),
        }
    }

    /// Returns the part that is secret.
    fn secret(&self) -> Option<&[u8]> {
        const RESPONSE: &[u8] = b"response=\"";
        let value = self.value()?.as_bytes();
        if let Self::Digest(..) = self {
            let start = value.windows(RESPONSE.len()).position(|window| window == RESPONSE)?;
            return value[start + RESPONSE.len()..].split(|byte| *byte == b'"').next();
        }
        token(value)
    }
}

/// Returns all that follows the scheme, without the padding, which an echo may lack.
fn token(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
    let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    value.get(scheme..end)
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}
