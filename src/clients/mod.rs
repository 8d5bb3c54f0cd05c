//! One file per outside system. A client knows its system's protocol and limits; it knows no job.

pub mod http;
pub mod mail_folder;
pub mod slack;
pub mod smtp;
pub mod webhook;
