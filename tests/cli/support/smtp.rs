//! A local SMTP server that does what real ones do not do on demand, and remembers what it received.
//!
//! It depends only on the standard library: the client's own tests also use it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to one mail. Replies are complete, without their CRLF; one that begins with 421 closes the connection.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is accepted.
    Accept,
    /// The answer to its RCPT TO.
    Recipient(&'static str),
    /// The answer to its DATA.
    Data(&'static str),
    /// The answer to its final dot.
    Message(&'static str),
    /// The same, in bytes of no known encoding.
    MessageBytes(&'static [u8]),
    /// The connection is closed at its RCPT TO.
    CutAtRecipient,
    /// The connection is closed in the middle of its text.
    CutInText,
    /// The connection is closed after its final dot, with the mail accepted or not.
    CutAfterDot { is_taken: bool },
    /// Its RCPT TO is not answered.
    SilentAtRecipient,
    /// Its final dot is not answered.
    SilentAfterDot,
    /// It is accepted after a pause.
    Slowly(Duration),
}

/// How the server greets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Greeting {
    /// With this line.
    Says(&'static str),
    /// Not at all; the connection stays open.
    Silence,
    /// The connection is closed at once.
    Closes,
}

/// How a server behaves towards everybody. The default is a plain one without any extension.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    pub(crate) greeting: Greeting,
    /// The answer to EHLO, line by line after the name; `250-` and `250 ` are added.
    pub(crate) offers: Vec<&'static str>,
    /// Another answer to EHLO.
    pub(crate) ehlo: Option<&'static str>,
    /// Who may send; without it AUTH is not required.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// The answer to wrong credentials.
    pub(crate) wrong_login: &'static str,
    /// The answer to every MAIL FROM, if it is a refusal.
    pub(crate) sender: Option<&'static str>,
    /// The answer to this many MAIL FROM, before it accepts any.
    pub(crate) busy: Option<(usize, &'static str)>,
    /// After this many mails the answer to every MAIL FROM.
    pub(crate) full_after: Option<(usize, &'static str)>,
    /// The answer to DATA if no recipient was accepted.
    pub(crate) data_without_recipient: &'static str,
    /// After this many mails it closes a connection with 421.
    pub(crate) mails_per_connection: Option<usize>,
    /// Closes a connection that has handed over a mail, without a reply.
    pub(crate) closes_when_idle: bool,
    /// After this many mails it closes a connection at the next MAIL FROM, without a reply.
    pub(crate) hangs_up_after: Option<usize>,
    /// The answer to every so manieth MAIL FROM, counted over all connections.
    pub(crate) refuses_every: Option<(usize, &'static str)>,
    /// The greeting of every so manieth connection.
    pub(crate) turns_away_every: Option<(usize, &'static str)>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            greeting: Greeting::Says("220 fault.example.jp ESMTP"),
            offers: Vec::new(),
            ehlo: None,
            login: None,
            wrong_login: "535 5.7.8 authentication failed",
            sender: None,
            busy: None,
            full_after: None,
            data_without_recipient: "554 5.5.1 no valid recipients",
            mails_per_connection: None,
            closes_when_idle: false,
            hangs_up_after: None,
            refuses_every: None,
            turns_away_every: None,
        }
    }
}

/// A mail that the server accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
    /// The whole MAIL FROM command.
    pub(crate) sender: String,
    /// Addresses.
    pub(crate) recipients: Vec<String>,
    /// The text, with dot-stuffing removed.
    pub(crate) bytes: Vec<u8>,
}

/// A server on its own port.
pub(crate) struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manners: Manners,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fates: BTreeMap<String, Vec<Fate>>,
    taken: Vec<Taken>,
    /// How many senders were refused because it was busy.
    refused: usize,
    /// How many MAIL FROM there were.
    senders: usize,
    commands: Vec<(usize, String)>,
    /// Reads from the network that held more than one command.
    packets: Vec<usize>,
    /// How many there were, and those that are open.
    connections: usize,
    open: BTreeMap<usize, TcpStream>,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MailServer {
    /// Starts one.
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { manners, state: Mutex::default() });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = server.lock();
                if state.has_ended {
                    break;
                }
                state.connections += 1;
                let number = state.connections;
                state.open.extend(stream.try_clone().map(|stream| (number, stream)));
                drop(state);
                let server = Arc::clone(&server);
                std::thread::spawn(move || {
                    // Some tests disconnect in the middle.
                    let _ = Session::new(stream, number, &server).and_then(Session::serve);
                    server.lock().open.remove(&number);
                });
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What happens to the mails of a recipient, one after another; the last one applies to all that follow.
    pub(crate) fn fate(&self, recipient: &str, fates: impl IntoIterator<Item = Fate>) {
        self.shared.lock().fates.insert(recipient.to_owned(), fates.into_iter().collect());
    }

    /// The mails it accepted, in order.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.shared.lock().taken.clone()
    }

    /// How many mails it accepted, for a test that polls.
    pub(crate) fn count_taken(&self) -> usize {
        self.shared.lock().taken.len()
    }

    /// The recipients of the mails it accepted, in order.
    pub(crate) fn reached(&self) -> Vec<String> {
        self.taken().into_iter().flat_map(|mail| mail.recipients).collect()
    }

    /// Every command, with the number of its connection.
    pub(crate) fn commands(&self) -> Vec<(usize, String)> {
        self.shared.lock().commands.clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many commands came in the packet that held the most.
    pub(crate) fn most_commands_in_a_packet(&self) -> usize {
        self.shared.lock().packets.iter().copied().max().unwrap_or(0)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_ended = true;
        for connection in state.open.values() {
            // It may already be closed.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

/// One connection.
struct Session<'a> {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    /// Answers to commands that came in one packet leave in one packet.
    answers: Vec<u8>,
    commands_in_packet: usize,
    number: usize,
    shared: &'a Shared,
    is_known: bool,
    mails: usize,
    sender: String,
    recipients: Vec<String>,
    fate: Fate,
}

impl<'a> Session<'a> {
    fn new(stream: TcpStream, number: usize, shared: &'a Shared) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let writer = stream.try_clone()?;
        Ok(Self {
            reader: BufReader::with_capacity(64 * 1024, stream),
            writer,
            answers: Vec::new(),
            commands_in_packet: 0,
            number,
            shared,
            is_known: shared.manners.login.is_none(),
            mails: 0,
            sender: String::new(),
            recipients: Vec::new(),
            fate: Fate::Accept,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let turned_away = self.shared.manners.turns_away_every;
        let turned_away = turned_away.filter(|(every, _)| self.number.is_multiple_of(*every));
        match turned_away.map_or(self.shared.manners.greeting, |(_, line)| Greeting::Says(line)) {
            Greeting::Says(line) => {
                if self.answer(line) {
                    return self.flush();
                }
            }
            Greeting::Silence => return self.wait_for_the_end(),
            Greeting::Closes => return Ok(()),
        }
        while let Some(command) = self.command()? {
            if self.execute(&command)? {
                return self.flush();
            }
        }
        Ok(())
    }

    /// Executes a command; true if the connection is to be closed.
    fn execute(&mut self, command: &str) -> io::Result<bool> {
        let manners = &self.shared.manners;
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                if let Some(line) = manners.ehlo {
                    return Ok(self.answer(line));
                }
                let mut lines = vec!["fault.example.jp"];
                lines.extend(&manners.offers);
                let last = lines.len() - 1;
                for (number, line) in lines.into_iter().enumerate() {
                    let separator = if number == last { ' ' } else { '-' };
                    self.answer(&format!("250{separator}{line}"));
                }
                Ok(false)
            }
            "AUTH" => self.authenticate(command),
            "QUIT" => {
                self.answer("221 2.0.0 bye");
                Ok(true)
            }
            "RSET" => {
                self.sender.clear();
                self.recipients.clear();
                Ok(self.answer("250 2.0.0 reset"))
            }
            "MAIL" if !self.is_known => Ok(self.answer("530 5.7.0 authentication required")),
            "MAIL" if !self.sender.is_empty() => Ok(self.answer("503 5.5.1 nested MAIL command")),
            "MAIL" if manners.mails_per_connection == Some(self.mails) => {
                Ok(self.answer("421 4.7.0 too many mails on this connection"))
            }
            "MAIL" if manners.hangs_up_after.is_some_and(|most| self.mails >= most) => Ok(true),
            "MAIL" if self.is_refused_by_turn() => {
                Ok(self.answer(manners.refuses_every.map_or("", |(_, line)| line)))
            }
            "MAIL" if self.is_full() => Ok(self.answer(manners.full_after.map_or("", |(_, line)| line))),
            "MAIL" if self.is_busy() => Ok(self.answer(manners.busy.map_or("", |(_, line)| line))),
            "MAIL" => {
                if manners.sender.is_none() {
                    command.clone_into(&mut self.sender);
                }
                Ok(self.answer(manners.sender.unwrap_or("250 2.1.0 sender ok")))
            }
            "RCPT" if self.sender.is_empty() => Ok(self.answer("503 5.5.1 need MAIL first")),
            "RCPT" => self.recipient(command),
            "DATA" => self.data(),
            _ => Ok(self.answer("502 5.5.2 unknown command")),
        }
    }

    /// Whether it is this sender's turn to be refused; each question counts.
    fn is_refused_by_turn(&self) -> bool {
        let mut state = self.shared.lock();
        state.senders += 1;
        self.shared.manners.refuses_every.is_some_and(|(every, _)| state.senders.is_multiple_of(every))
    }

    /// Whether it has taken all that it takes.
    fn is_full(&self) -> bool {
        let taken = self.shared.lock().taken.len();
        self.shared.manners.full_after.is_some_and(|(most, _)| taken >= most)
    }

    /// Whether it still refuses every sender; each question counts.
    fn is_busy(&self) -> bool {
        let mut state = self.shared.lock();
        let is_busy = self.shared.manners.busy.is_some_and(|(times, _)| state.refused < times);
        state.refused += usize::from(is_busy);
        is_busy
    }

    fn authenticate(&mut self, command: &str) -> io::Result<bool> {
        let mut words = command.split(' ').skip(1);
        let given = match (words.next(), words.next()) {
            (Some("PLAIN"), Some(response)) => response.to_owned(),
            (Some("LOGIN"), None) => {
                // "Username:" and "Password:" in base64.
                self.answer("334 VXNlcm5hbWU6");
                let user = self.command()?.unwrap_or_default();
                self.answer("334 UGFzc3dvcmQ6");
                format!("{user} {}", self.command()?.unwrap_or_default())
            }
            _ => return Ok(self.answer("504 5.5.4 unknown mechanism")),
        };
        let expected = self.shared.manners.login.map(|(user, password)| {
            let plain = base64(format!("\0{user}\0{password}").as_bytes());
            (plain, format!("{} {}", base64(user.as_bytes()), base64(password.as_bytes())))
        });
        self.is_known = expected.is_some_and(|(plain, login)| given == plain || given == login);
        let wrong = self.shared.manners.wrong_login;
        Ok(self.answer(if self.is_known { "235 2.7.0 welcome" } else { wrong }))
    }

    fn recipient(&mut self, command: &str) -> io::Result<bool> {
        let address = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let mut state = self.shared.lock();
        self.fate = match state.fates.get_mut(&address) {
            Some(fates) if fates.len() > 1 => fates.remove(0),
            Some(fates) => fates.first().cloned().unwrap_or(Fate::Accept),
            None => Fate::Accept,
        };
        drop(state);
        match self.fate {
            Fate::Recipient(line) => {
                if line.starts_with('2') {
                    self.recipients.push(address);
                }
                Ok(self.answer(line))
            }
            Fate::CutAtRecipient => Ok(true),
            Fate::SilentAtRecipient => self.wait_for_the_end().map(|()| true),
            _ => {
                self.recipients.push(address);
                Ok(self.answer("250 2.1.5 recipient ok"))
            }
        }
    }

    fn data(&mut self) -> io::Result<bool> {
        if self.recipients.is_empty() {
            let line = self.shared.manners.data_without_recipient;
            if self.answer(line) {
                return Ok(true);
            }
            if line.starts_with("354") {
                self.text()?;
                return Ok(self.answer("554 5.5.1 no valid recipients"));
            }
            return Ok(false);
        }
        if let Fate::Data(line) = self.fate {
            return Ok(self.answer(line));
        }
        self.answer("354 go ahead");
        if matches!(self.fate, Fate::CutInText) {
            self.flush()?;
            let mut first = [0; 64];
            self.reader.read_exact(&mut first)?;
            return Ok(true);
        }
        let bytes = self.text()?;
        let taken = Taken {
            connection: self.number,
            sender: std::mem::take(&mut self.sender),
            recipients: std::mem::take(&mut self.recipients),
            bytes,
        };
        self.mails += 1;
        match self.fate {
            Fate::Message(line) => return Ok(self.answer(line)),
            Fate::MessageBytes(line) => {
                self.answers.extend_from_slice(line);
                self.answers.extend_from_slice(b"\r\n");
                return Ok(false);
            }
            Fate::CutAfterDot { is_taken } => {
                if is_taken {
                    self.shared.lock().taken.push(taken);
                }
                return Ok(true);
            }
            Fate::SilentAfterDot => {
                self.wait_for_the_end()?;
                return Ok(true);
            }
            Fate::Slowly(pause) => std::thread::sleep(pause),
            _ => {}
        }
        self.shared.lock().taken.push(taken);
        self.answer("250 2.0.0 taken");
        Ok(self.shared.manners.closes_when_idle)
    }

    /// The text up to the final dot.
    fn text(&mut self) -> io::Result<Vec<u8>> {
        self.flush()?;
        let mut text = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.strip_prefix(b".") {
                Some(b"\r\n") => return Ok(text),
                Some(rest) => text.extend_from_slice(rest),
                None => text.extend_from_slice(&line),
            }
        }
    }

    fn command(&mut self) -> io::Result<Option<String>> {
        if self.reader.buffer().is_empty() {
            self.flush()?;
            let packet = std::mem::take(&mut self.commands_in_packet);
            self.shared.lock().packets.push(packet);
        }
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        self.commands_in_packet += 1;
        let line = line.trim_end().to_owned();
        self.shared.lock().commands.push((self.number, line.clone()));
        Ok(Some(line))
    }

    /// Answers; true if the answer closes the connection.
    fn answer(&mut self, line: &str) -> bool {
        self.answers.extend_from_slice(line.as_bytes());
        self.answers.extend_from_slice(b"\r\n");
        line.starts_with("421")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&std::mem::take(&mut self.answers))
    }

    /// Says nothing more until the client or the test ends.
    fn wait_for_the_end(&mut self) -> io::Result<()> {
        self.flush()?;
        io::copy(&mut self.reader, &mut io::sink()).map(drop)
    }
}

/// RFC 4648, for a few bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * position) & 63).expect("six bits");
            text.push(if position > chunk.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    text
}
