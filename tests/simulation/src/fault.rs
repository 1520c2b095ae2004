//! The ways in which the network, proxies and origins go wrong.

use crate::{plan::Protocol, random::Random};

/// One way to go wrong.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A connection is refused.
    DialRefused,
    /// A connection is never accepted.
    DialHangs,
    /// A connection takes up to three seconds.
    DialSlow,
    /// From a moment on, nothing arrives in either direction, and nobody is told.
    LinkDies,
    /// A connection is reset at a random moment.
    LinkResets,
    /// A server accepts a connection and says nothing on it.
    Mute,
    /// CONNECT is never answered.
    ConnectHangs,
    /// CONNECT is answered late.
    ConnectSlow,
    /// CONNECT is answered with 403, 407, 502 or 503.
    ConnectRefused,
    /// The connection closes instead of an answer to CONNECT.
    ConnectCloses,
    /// A request is answered late.
    AnswersLate,
    /// A request is never answered.
    NeverAnswers,
    /// A connection closes on which a request arrives, without a look at it.
    ClosesUnread,
    /// A connection closes after a request was processed, without an answer.
    ClosesUnanswered,
    /// The same by a reset.
    ResetsUnanswered,
    /// A response ends in its middle.
    ClosesInAnswer,
    /// A response is reset in its middle, which may destroy what was not read.
    ResetsInAnswer,
    /// A response stops in its middle.
    StallsInAnswer,
    /// A connection closes soon after a response that did not announce it.
    ClosesSilently,
    /// An idle connection closes.
    ClosesIdle,
    /// The server's direction ends after a response; the server still reads.
    HalfCloses,
    /// A response comes before the upload has ended; the rest is read.
    AnswersEarly,
    /// The same, and the connection closes.
    AnswersEarlyAndCloses,
    /// The same, and the rest is never read.
    AnswersEarlyAndStopsReading,
    /// An upload is read to its middle, and no further.
    StopsReading,
    /// HTTP/2: a stream is refused, unprocessed.
    RefusesStream,
    /// HTTP/2: a stream is reset after the request was processed.
    ResetsStream,
    /// HTTP/2: GOAWAY after which every stream is finished.
    GoAwayGraceful,
    /// HTTP/2: GOAWAY below streams that have arrived, which are not processed.
    GoAwayBelow,
    /// HTTP/2: the connection closes with GOAWAY, whatever is on it.
    GoAwayAbrupt,
    /// HTTP/2: the first SETTINGS come late.
    SettingsLate,
    /// HTTP/2: PING is not answered.
    PingUnanswered,
    /// HTTP/2: some streams are served at a time, and others wait.
    ServesFew,
    /// HTTP/2: fewer streams are allowed than before.
    AllowsFewer,
    /// HTTP/2: a tunnel is reset.
    ResetsTunnel,
    /// The server restarts: every connection ends at once.
    Restarts,
    /// The name leads to another address. Connections to the old one die.
    Moves,
}

impl Fault {
    /// Faults of the network and of every server.
    const ANYWHERE: &[Self] = &[
        Self::DialRefused,
        Self::DialHangs,
        Self::DialSlow,
        Self::LinkDies,
        Self::LinkResets,
        Self::Mute,
        Self::AnswersLate,
        Self::NeverAnswers,
        Self::ClosesUnread,
        Self::ClosesUnanswered,
        Self::ResetsUnanswered,
        Self::ClosesIdle,
        Self::ResetsInAnswer,
        Self::StallsInAnswer,
        Self::StopsReading,
        Self::AnswersEarly,
    ];
    /// Faults of a proxy.
    const TUNNEL: &[Self] = &[
        Self::ConnectHangs,
        Self::ConnectSlow,
        Self::ConnectRefused,
        Self::ConnectCloses,
    ];
    /// Faults of a server that speaks HTTP/1.1.
    const HTTP1: &[Self] = &[
        Self::ClosesInAnswer,
        Self::ClosesSilently,
        Self::HalfCloses,
        Self::AnswersEarlyAndCloses,
        Self::AnswersEarlyAndStopsReading,
    ];
    /// Faults of a server that speaks HTTP/2.
    const HTTP2: &[Self] = &[
        Self::RefusesStream,
        Self::ResetsStream,
        Self::GoAwayGraceful,
        Self::GoAwayBelow,
        Self::GoAwayAbrupt,
    ];
    /// Faults of a proxy that speaks HTTP/2.
    const HTTP2_PROXY: &[Self] = &[
        Self::SettingsLate,
        Self::PingUnanswered,
        Self::ServesFew,
        Self::ResetsTunnel,
    ];

    /// Returns true if a connection goes on without a sign of life, so that only a time-out can end a wait on it.
    pub(crate) fn is_silent(self) -> bool {
        matches!(
            self,
            Self::LinkDies
                | Self::Mute
                | Self::Moves
                | Self::StallsInAnswer
                | Self::StopsReading
                | Self::AnswersEarlyAndStopsReading
        )
    }

    /// Returns true if no request on the connection, or the stream, is worked on any more.
    pub(crate) fn ends_work(self) -> bool {
        !self.is_silent()
            && !matches!(
                self,
                Self::DialSlow
                    | Self::ConnectSlow
                    | Self::NeverAnswers
                    | Self::AnswersEarly
                    | Self::AnswersEarlyAndCloses
                    | Self::GoAwayGraceful
                    | Self::GoAwayBelow
                    | Self::SettingsLate
                    | Self::PingUnanswered
                    | Self::ServesFew
                    | Self::AllowsFewer
            )
    }

    /// Returns true if the requests that a server has taken are answered in spite of it.
    pub(crate) fn is_promise(self) -> bool {
        matches!(self, Self::GoAwayGraceful | Self::GoAwayBelow)
    }
}

/// The chance of each fault on one server, in thousandths. A server has few kinds of faults at a time, so that one does
/// not hide what another would show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<(Fault, u64)>);

impl Faults {
    pub(crate) fn random(protocol: Protocol, random: &mut Random) -> Self {
        let own = match protocol {
            Protocol::Proxy | Protocol::SecureProxy => [Fault::ANYWHERE, Fault::HTTP1, Fault::TUNNEL].concat(),
            Protocol::Http | Protocol::Https => [Fault::ANYWHERE, Fault::HTTP1].concat(),
            Protocol::Http2 => [Fault::ANYWHERE, Fault::HTTP2].concat(),
            Protocol::Http2Proxy | Protocol::SecureHttp2Proxy => {
                [Fault::ANYWHERE, Fault::HTTP2, Fault::TUNNEL, Fault::HTTP2_PROXY].concat()
            }
        };
        let kinds = random.pick(&[0, 1, 1, 2, 2, 3, 4, 6]);
        let faults = (0..kinds).map(|_| (random.pick(&own), random.pick(&[30, 100, 200, 500])));
        Self(faults.collect())
    }

    /// Returns true if the fault happens this time.
    pub(crate) fn happens(&self, fault: Fault, random: &mut Random) -> bool {
        let chance = self.0.iter().find(|(known, _)| *known == fault);
        chance.is_some_and(|(_, chance)| random.chance(*chance))
    }
}
