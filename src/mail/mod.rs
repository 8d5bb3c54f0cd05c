//! Mails, as shared by the queue, its producers and its transports. This module knows no job and no transport.

pub mod advertising;
pub mod delivery;
pub mod dkim;
pub mod message;
pub mod outgoing;
pub mod queue;
pub mod template;
pub mod unsubscribe;
