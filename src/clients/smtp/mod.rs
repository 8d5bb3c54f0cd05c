//! SMTP (RFC 5321) as a client that delivers mails one by one over a persistent connection.
//!
//! The commands and the SASL mechanisms are lettre's; the connection is ours. Lettre's own hides SIZE and PIPELINING,
//! mistakes a reply that is not UTF-8 or has a code such as 571 for a broken connection, keeps what was read in plain
//! text beyond STARTTLS, and cannot tell whether the final dot had left when the connection broke.

mod classify;
mod connection;
#[cfg(test)]
#[path = "../../../tests/cli/support/smtp.rs"]
mod fault_server;
mod reply;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use connection::SmtpConnection;
pub use server::{SmtpServer, Timeouts, VARIABLE};
