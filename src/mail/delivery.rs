//! What becomes of one mail at one recipient, whatever carried it; and what stops the carrying of all.

/// The outcome of one mail. `reply` is the server's own words, shortened to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken responsibility.
    Accepted {
        /// The server's reply.
        reply: String,
        /// The number that the service gave it, for its own logs.
        provider_message_id: Option<String>,
    },
    /// Not now: another try later may succeed.
    Deferred {
        /// The server's reply, or what broke.
        reply: String,
    },
    /// Never: another try of the same mail will not help.
    Rejected {
        /// The server's reply, or what is wrong with the mail.
        reply: String,
        /// Whose fault it is.
        because: Rejection,
    },
    /// The mail was handed over, and the answer never heard: it may have arrived.
    Unknown {
        /// What broke.
        reply: String,
    },
}

/// Why a mail was refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The address does not exist any more (5.1.x, 5.2.1): nobody should write to it again.
    Address,
    /// The server does not want mail of this sender (5.7.x, 554): nothing the recipient did.
    Policy,
    /// This mail: its size, its content, its form.
    Mail,
}

/// What ends the sending of every mail. The mails in hand go back as if they had not been tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The server cannot be reached, or says it is closed: try again later (75).
    #[error("{0}")]
    Unreachable(String),
    /// The credentials are wrong: nothing will help but another configuration (1).
    #[error("{0}")]
    Credentials(String),
    /// The server does not understand us, or cannot be trusted (a certificate, STARTTLS withheld): (1).
    #[error("{0}")]
    Refused(String),
    /// A setting is missing or wrong (78).
    #[error("{0}")]
    Configuration(String),
}
