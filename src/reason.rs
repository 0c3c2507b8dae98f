//! Why connections are closed and requests refused, and a name for each reason that stays.

use std::borrow::Cow;
use std::fmt;

/// An enum whose variants all have a label, and a list of them all: what is in the table can't be
/// forgotten where they are counted.
macro_rules! labelled {
    (
        $(#[$about:meta])*
        $kind:ident {
            $($(#[$meaning:meta])+ $name:ident = $label:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$meaning])+ $name,)+
        }

        impl $kind {
            /// Every one, each at the index that it is as a number.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$name),+];

            /// Its name in the metrics, in snake case. It stays as it is.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

labelled! {
    /// Why a connection is closed; every close has one, in the log and in the metrics.
    CloseReason {
        /// The client sent `<quit />`.
        Quit = "quit",
        /// The client ended its side.
        PeerClosed = "peer_closed",
        /// The connection broke: reset, unreachable, timed out.
        Broken = "broken",
        /// The peer did not answer the check after `limits.idletime`.
        Idle = "idle",
        /// A frame over `limits.stanzabytes`.
        StanzaTooLarge = "stanza_too_large",
        /// `limits.sessions` was reached.
        TooManySessions = "too_many_sessions",
        /// `limits.sessionsperaddress` was reached.
        TooManyFromAddress = "too_many_from_address",
        /// No login within `limits.logintime`.
        LoginTimeout = "login_timeout",
        /// Over `limits.stanzarate` for too long.
        TooFast = "too_fast",
        /// `limits.failedlogins` was reached.
        FailedLogins = "failed_logins",
        /// Over `limits.backlog`.
        SlowReader = "slow_reader",
        /// Over `limits.backlogsoft` for too long.
        SlowReaderSoft = "slow_reader_soft",
        /// The fullest when `limits.backlogtotal` was reached.
        BacklogTotal = "backlog_total",
        /// Root or a plugin removed the client.
        Kicked = "kicked",
        /// Its nick or its address is banned.
        Banned = "banned",
        /// The policy was sent.
        PolicyServed = "policy_served",
        /// Something other than a policy request on the policy port.
        PolicyOnly = "policy_only",
        /// The server stops.
        Shutdown = "shutdown",
        /// A request of HTTP was answered.
        RequestAnswered = "request_answered",
        /// A request of HTTP was refused.
        RequestRefused = "request_refused",
        /// The client broke RFC 6455.
        BadFrame = "bad_frame",
        /// TLS could not go on.
        TlsBroken = "tls_broken",
        /// The connection began with TLS, and there is no certificate.
        NoTls = "no_tls",
        /// The connection came without TLS, which is required.
        TlsRequired = "tls_required",
        /// The transport that the client speaks is switched off.
        SwitchedOff = "switched_off",
        /// A trusted proxy began with a header that is none.
        BadProxyHeader = "bad_proxy_header",
    }
}

labelled! {
    /// Why a request is refused, for the metrics and for what the log makes of it; its sender is
    /// told in words.
    RefusalReason {
        /// What arrived is no stanza.
        Malformed = "malformed",
        /// The request goes over a limit.
        Limit = "limit",
        /// Its sender has not logged in.
        NotLoggedIn = "not_logged_in",
        /// The request is a login that came to nothing.
        Login = "login",
        /// The request is a login that no plugin could decide on.
        LoginUndecided = "login_undecided",
        /// The request is one that no plugin could decide on.
        Undecided = "undecided",
        /// A required attribute or the recipient is missing.
        Incomplete = "incomplete",
        /// The sender has not the rights, or no client can have them.
        Rights = "rights",
        /// Nothing has that name: no verb, no plugin's stanza.
        UnknownStanza = "unknown_stanza",
        /// There is no such client, or no such room for its sender.
        UnknownTarget = "unknown_target",
        /// The request's name, or that of a room in it, is not allowed.
        BadName = "bad_name",
        /// The request does not fit the present state: a second login, a room that its sender is
        /// in, a circle of child rooms.
        WrongState = "wrong_state",
    }
}

/// A request that is refused: why, and what its sender is told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: RefusalReason,
    pub(crate) error: Cow<'static, str>,
}

impl Refused {
    pub(crate) const fn new(reason: RefusalReason, error: &'static str) -> Self {
        Self { reason, error: Cow::Borrowed(error) }
    }

    pub(crate) const fn told(reason: RefusalReason, error: String) -> Self {
        Self { reason, error: Cow::Owned(error) }
    }

    pub(crate) const fn for_limit(error: String) -> Self {
        Self { reason: RefusalReason::Limit, error: Cow::Owned(error) }
    }
}

impl CloseReason {
    /// Whether a limit was the reason, so that the operator is warned.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        match self {
            Self::Quit
            | Self::PeerClosed
            | Self::Broken
            | Self::Idle
            | Self::Kicked
            | Self::Banned
            | Self::PolicyServed
            | Self::PolicyOnly
            | Self::Shutdown
            | Self::RequestAnswered
            | Self::RequestRefused
            | Self::BadFrame
            | Self::TlsBroken
            | Self::NoTls
            | Self::TlsRequired
            | Self::SwitchedOff
            | Self::BadProxyHeader => false,
            Self::StanzaTooLarge
            | Self::TooManySessions
            | Self::TooManyFromAddress
            | Self::LoginTimeout
            | Self::TooFast
            | Self::FailedLogins
            | Self::SlowReader
            | Self::SlowReaderSoft
            | Self::BacklogTotal => true,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quit => "it quit",
            Self::PeerClosed => "it closed the connection",
            Self::Broken => "the connection broke",
            Self::Idle => "nobody answered the check after limits.idletime",
            Self::StanzaTooLarge => "a stanza over limits.stanzabytes",
            Self::TooManySessions => "limits.sessions reached",
            Self::TooManyFromAddress => "limits.sessionsperaddress reached",
            Self::LoginTimeout => "no login within limits.logintime",
            Self::TooFast => "over limits.stanzarate for too long",
            Self::FailedLogins => "limits.failedlogins reached",
            Self::SlowReader => "slow reader, over limits.backlog",
            Self::SlowReaderSoft => "slow reader, over limits.backlogsoft for too long",
            Self::BacklogTotal => "slow reader, the fullest when limits.backlogtotal was reached",
            Self::Kicked => "kicked",
            Self::Banned => "banned",
            Self::PolicyServed => "the policy was sent",
            Self::PolicyOnly => "no policy request on the policy port",
            Self::Shutdown => "the server stops",
            Self::RequestAnswered => "its request was answered",
            Self::RequestRefused => "its request was refused",
            Self::BadFrame => "a frame against RFC 6455",
            Self::TlsBroken => "TLS could not go on",
            Self::NoTls => "TLS without a certificate in [tls]",
            Self::TlsRequired => "no TLS, which [tls] requires",
            Self::SwitchedOff => "what it speaks is switched off",
            Self::BadProxyHeader => "no PROXY header where one began",
        })
    }
}
