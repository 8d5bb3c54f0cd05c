//! The result of delivering one mail to one recipient, whatever the transport, and what stops all deliveries.

use std::time::Duration;

/// The outcome of one mail. `reply` is the server's reply, shortened to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken responsibility.
    Accepted {
        /// The server's reply.
        reply: String,
        /// The id that the service assigned to it, for its logs.
        provider_message_id: Option<String>,
    },
    /// Not now: a later attempt may succeed.
    Deferred {
        /// The server's reply, or what broke.
        reply: String,
        /// What it is about.
        because: Deferral,
    },
    /// The server takes no mails for the moment, whichever they are: this one stays as it was, and all go more slowly.
    SlowDown {
        /// The server's reply.
        reply: String,
        /// How long it asked to wait, if it said so.
        wait: Option<Duration>,
    },
    /// Never: another attempt with the same mail will not help.
    Rejected {
        /// The server's reply, or what is wrong with the mail.
        reply: String,
        /// What was at fault.
        because: Rejection,
    },
    /// The mail was handed over, but no reply arrived: it may have been delivered.
    Unknown {
        /// What broke.
        reply: String,
    },
}

/// Why a mail was refused for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// This mail or its recipient: a full mailbox (4.2.2), a size (4.3.4).
    Mail,
    /// Greylisting, a broken connection, a fault of the server: other mails may meet it too.
    Unsaid,
}

/// Why a mail was refused permanently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The address does not exist (5.1.x, 5.2.1): nobody should write to it again.
    Address,
    /// The server does not accept mail from this sender (5.7.x, 554), or something in front of it refused: not the
    /// recipient's fault, and perhaps not this mail's.
    Policy,
    /// The mail itself: its size, its content, its form.
    Mail,
}

/// What stops the sending of all mails. The current mails are returned as if they had not been tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The server cannot be reached, or says it is closed: try again later (75).
    #[error("{0}")]
    Unreachable(String),
    /// The server takes no further connection for the moment, as it said itself; perhaps it takes the next one (75).
    #[error("{0}")]
    TurnedAway(String),
    /// The server takes no more mails for now, as it said itself (75).
    #[error("{0}")]
    Busy(String),
    /// The credentials are wrong: only another configuration will help (1).
    #[error("{0}")]
    Credentials(String),
    /// The server does not understand us, or cannot be trusted (bad certificate, no STARTTLS) (1).
    #[error("{0}")]
    Refused(String),
    /// A setting is missing or wrong (78).
    #[error("{0}")]
    Configuration(String),
}
