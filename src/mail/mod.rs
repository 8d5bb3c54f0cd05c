//! Mails as the queue, its producers and its transports share them. This module knows no job and no transport.

pub mod delivery;
pub mod dkim;
pub mod message;
pub mod outgoing;
pub mod queue;
pub mod template;
pub mod unsubscribe;
