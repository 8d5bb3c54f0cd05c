//! A Redis of a test's own, which can be killed, restarted, slowed down and filled with anything.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Client, Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::{eventually, real_server};

/// One server, without anything on disk. It ends with the test.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    settings: Vec<String>,
    /// Where it keeps what it has to, such as the nodes of a cluster. Removed with it.
    _folder: TempDir,
}

impl Redis {
    /// Starts one; `None` where `scripts/servers` has started none, which CI does not accept.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with settings, such as `--requirepass`.
    pub(crate) fn start_with(settings: &[&str]) -> Option<Self> {
        real_server("BATCHCTL_TEST_REDIS_URL")?;
        Some(Self::started("--port", settings.iter().map(|&word| word.to_owned()).collect()))
    }

    /// One that speaks only TLS, as `localhost`, and the file of the authority that says so.
    pub(crate) fn start_with_tls(settings: &[&str]) -> Option<(Self, String)> {
        real_server("BATCHCTL_TEST_REDIS_URL")?;
        let authority = real_server("BATCHCTL_TEST_SMTP_CA")?;
        let beside = |name: &str| authority.replace("ca.pem", name);
        let (certificate, key) = (beside("server.pem"), beside("server.key"));
        let tls = ["--port", "0", "--tls-auth-clients", "no", "--tls-ca-cert-file", &authority];
        let own = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
        let settings = tls.iter().chain(&own).chain(settings).map(|&word| word.to_owned()).collect();
        Some((Self::started("--tls-port", settings), authority))
    }

    #[expect(clippy::needless_pass_by_value, reason = "they are kept")]
    fn started(port_setting: &str, settings: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let place = folder.path().display().to_string();
        let all = |port: u16| {
            let own = [port_setting.to_owned(), port.to_string(), "--dir".to_owned(), place.clone()];
            own.into_iter().chain(settings.clone()).collect::<Vec<_>>()
        };
        // The port is free a moment before, and may be taken a moment later.
        let started = (0..20).find_map(|_| {
            let port = free_port();
            spawn(port, &all(port)).map(|child| (child, port))
        });
        let (child, port) = started.expect("redis-server starts");
        Self { child, port, settings: all(port), _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What `BATCHCTL_REDIS_URL` is to be.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection without a login, to one of its databases.
    #[track_caller]
    pub(crate) fn connect(&self, database: u32) -> Connection {
        connect(self.port, database).expect("it accepts connections")
    }

    /// Runs a command without a login.
    #[track_caller]
    pub(crate) fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let ran = run(&mut self.connect(0), words);
        ran.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Kills it: what it held is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Starts it again at the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.settings).expect("nobody else has taken the port");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command on a connection.
pub(crate) fn run<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(connection)
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

fn connect(port: u16, database: u32) -> RedisResult<Connection> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/{database}"))?;
    client.get_connection_with_timeout(Duration::from_secs(10))
}

/// A server that listens; `None` if the port is taken.
fn spawn(port: u16, settings: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("redis-server is installed");
    let mut has_ended = false;
    eventually(
        || {
            has_ended = child.try_wait().expect("our own child can be asked").is_some();
            has_ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        },
        "redis-server listens",
    );
    (!has_ended).then_some(child)
}

/// The port of a way to a server on which each answer takes longer. It ends with the test program.
pub(crate) fn slow_way_to(port: u16, delay: Duration) -> u16 {
    let way = Way::to(port);
    way.slow_down(delay);
    way.port
}

/// A way to a server on which answers may take longer. It ends with the test program.
pub(crate) struct Way {
    pub(crate) port: u16,
    delay_ms: Arc<AtomicU64>,
}

impl Way {
    /// One that is as fast as the server, at first.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let of_answers = Arc::clone(&delay_ms);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let (none, delay_ms) = (Arc::default(), Arc::clone(&of_answers));
                std::thread::spawn(move || pass(from_client, server, &none));
                std::thread::spawn(move || pass(from_server, client, &delay_ms));
            }
        });
        Self { port: own, delay_ms }
    }

    /// From now on each answer takes so much longer.
    pub(crate) fn slow_down(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("nobody waits for so long");
        self.delay_ms.store(delay, Ordering::Relaxed);
    }
}

/// Passes on what is read, each piece after this many milliseconds.
fn pass(mut from: TcpStream, mut to: TcpStream, delay_ms: &AtomicU64) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// What a server that is no Redis answers to a command.
pub(crate) enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The first of them, and then the others without end.
    Endless(&'static [u8], &'static [u8]),
}

/// The port of a server that answers each command as it is told to, after those that every client begins with. It ends with
/// the test program.
pub(crate) fn fake(answer: fn(&[String]) -> Option<Answer>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // It ends with the client.
                let _ = serve(stream, answer);
            });
        }
    });
    port
}

fn serve(stream: TcpStream, answer: fn(&[String]) -> Option<Answer>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let words = words(&mut reader)?;
        let usual = match words.first().map(String::as_str) {
            Some("INFO") => b"$19\r\ncluster_enabled:0\r\n\r\n".to_vec(),
            Some("SCRIPT") => b"$4\r\nname\r\n".to_vec(),
            _ => b"+OK\r\n".to_vec(),
        };
        match answer(&words).unwrap_or(Answer::Bytes(usual)) {
            Answer::Bytes(bytes) => writer.write_all(&bytes)?,
            Answer::Endless(first, others) => {
                writer.write_all(first)?;
                let block = others.repeat(64 * 1024 / others.len());
                loop {
                    writer.write_all(&block)?;
                }
            }
        }
    }
}

/// The words of a command.
fn words(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let count = number(reader, '*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let mut word = vec![0; number(reader, '$')? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(words)
}

/// A line of a sign and a number.
fn number(reader: &mut BufReader<TcpStream>, sign: char) -> std::io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let number = line.trim_end().strip_prefix(sign).and_then(|number| number.parse().ok());
    number.ok_or_else(|| std::io::Error::other("not a command"))
}
