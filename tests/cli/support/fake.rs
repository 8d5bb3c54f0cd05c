//! A local platform (`scripts/fakes/`) for one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;

/// A running server; it ends with the test.
pub(crate) struct Fake {
    server: Child,
    port: u16,
    _folder: TempDir,
}

impl Fake {
    /// Starts the program of this name with these arguments.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fakes").join(program);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port_file = folder.path().join("port");
        let server = Command::new(path)
            .args(["--port", "0"])
            .arg("--port-file")
            .arg(&port_file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut fake = Self { server, port: 0, _folder: folder };
        let port = || std::fs::read_to_string(&port_file).ok()?.trim().parse().ok();
        eventually(|| port().is_some(), &format!("the local {program} listens"));
        fake.port = port().expect("it listens");
        fake
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// One request on a separate connection: the status and the body.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut connection =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the server takes a connection");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the server answers");
        let answer = String::from_utf8(answer).expect("the answer is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, format!("{}{body}", location(head)))
    }
}

/// The target of a redirect, instead of its empty body.
fn location(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("Location: "));
    line.unwrap_or_default().to_owned()
}

impl Drop for Fake {
    fn drop(&mut self) {
        // Both fail only if it has just ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
