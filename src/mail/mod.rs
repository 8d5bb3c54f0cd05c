//! Mails as the queue, its producers and its transports know them. No job and no transport is known here.

pub mod address;
pub mod delivery;
pub mod dkim;
pub mod message;
pub mod outgoing;
pub mod queue;
pub mod template;
pub mod unsubscribe;
