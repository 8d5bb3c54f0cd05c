//! One file per outside system. A client knows its system's protocol and limits; it knows no job.

pub mod api;
pub mod cafe24;
pub mod chat;
pub mod http;
pub mod line_works;
mod mail_api;
pub mod mail_folder;
pub mod mail_transport;
pub mod sendgrid;
pub mod ses;
pub mod slack;
pub mod smtp;
pub mod teams;
pub mod webhook;
