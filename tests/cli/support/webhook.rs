//! A local HTTP server that gives queued answers and remembers its requests: a chat channel, a web shop.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::LIMIT;

/// What to answer to one request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, String),
    /// Nothing, until the server ends.
    Silence,
    /// Nothing: the connection ends once the request is read.
    Cut,
}

impl Answer {
    /// A status with a JSON body.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Http(status, vec![("Content-Type", "application/json".to_owned())], body.to_string())
    }

    /// A status with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Http(status, Vec::new(), String::new())
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) arrived: Instant,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// How a service handles a request: the answer to a good one, or to one that it refuses.
pub(crate) type Check = Box<dyn Fn(&Request) -> Result<Answer, Answer> + Send + Sync>;

/// A server on its own port. It answers 200 when nothing else is queued.
pub(crate) struct Webhook {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    check: Check,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Webhook {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self::checking(Box::new(|_| Ok(Answer::status(200))))
    }

    /// Starts one that checks each request: a refused one gets that answer, whatever is queued.
    pub(crate) fn checking(check: Check) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { state: Mutex::default(), ended: Condvar::new(), check });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.lock().has_ended {
                    break;
                }
                let server = Arc::clone(&server);
                // Some tests disconnect in the middle.
                std::thread::spawn(move || stream.and_then(|stream| serve(&stream, &server)));
            }
        });
        Self { address, shared }
    }

    /// The URL of a path such as `/hook`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Queues an answer for the next request that has none.
    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.lock().answers.push_back(answer);
    }

    /// The requests up to now, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.ended.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = read_request(&mut BufReader::new(stream))?;
    let checked = (shared.check)(&request);
    let mut state = shared.lock();
    state.requests.push(request);
    let answer = match checked {
        Ok(usual) => state.answers.pop_front().unwrap_or(usual),
        Err(refusal) => refusal,
    };
    match answer {
        Answer::Http(status, headers, body) => {
            drop(state);
            let mut head = format!("HTTP/1.1 {status} Answer\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let length = body.len();
            write!(&mut &*stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        }
        Answer::Silence => {
            let waiting = shared.ended.wait_timeout_while(state, LIMIT, |state| !state.has_ended);
            drop(waiting);
            Ok(())
        }
        Answer::Cut => Ok(()),
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request {
        method,
        path,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        arrived: Instant::now(),
    })
}
