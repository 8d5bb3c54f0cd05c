//! One connection: it hands over a mail, learns its outcome, and is ready for the next.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;

use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::mail::message::Built;

use super::classify::{Step, refused_connection, refused_mail};
use super::reply::{Reply, kept};
use super::server::Timeouts;
use super::wire::{Break, Wire};

/// How much is sent under one time limit, and buffered while the mail is sent.
const BLOCK_BYTES: usize = 64 * 1024;
/// LOGIN asks for the name and the password; a server that keeps asking is given up on.
const MAX_CHALLENGES: usize = 3;
/// A server that closes in the middle of a mail has often said why. This is how long we wait for that.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// "Service not available, closing transmission channel", at any time.
const CLOSING: u16 = 421;
/// "Start mail input".
const GO_AHEAD: u16 = 354;
/// No line of a mail is longer (RFC 5322 section 2.1.1), with room for a dot before and one after.
const MAX_LINE_BYTES: usize = 1_008;

/// What the server offers (RFC 5321 section 4.1.1.1).
#[derive(Debug, Default)]
struct Offers {
    /// PIPELINING, STARTTLS, 8BITMIME, SMTPUTF8 and whatever else, in capitals.
    extensions: BTreeSet<String>,
    /// The largest mail it accepts; 0 if it does not say.
    size: Option<u64>,
    mechanisms: Vec<String>,
}

impl Offers {
    fn read(ehlo: &Reply) -> Self {
        let mut offers = Self::default();
        // The first line is the server's name.
        for line in ehlo.lines.iter().skip(1) {
            // `AUTH=LOGIN` is what servers of the nineties wrote.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_whitespace();
            match words.next() {
                Some("SIZE") => {
                    offers.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0));
                }
                Some("AUTH") => offers.mechanisms.extend(words.map(str::to_owned)),
                Some(extension) => drop(offers.extensions.insert(extension.to_owned())),
                None => {}
            }
        }
        offers
    }

    fn has(&self, extension: &str) -> bool {
        self.extensions.contains(extension)
    }
}

/// A connection on which mails are handed over, one after the other.
#[derive(Debug)]
pub struct SmtpConnection {
    wire: Wire,
    server: String,
    timeouts: Timeouts,
    offers: Offers,
    /// False during an exchange: an aborted one leaves the connection in an unknown state.
    is_idle: bool,
    /// Whether the connection broke, or the server announced that it closes it.
    is_lost: bool,
}

/// Why the delivery of a mail ended early.
enum Ended {
    /// The connection broke: the server does not have the mail.
    Broken(Step, Break),
    /// The server refused it.
    Refused(Step, Reply),
}

impl SmtpConnection {
    /// Waits for the greeting and introduces us.
    pub(super) async fn greet(mut wire: Wire, server: &str, timeouts: Timeouts) -> Result<Self, Stop> {
        let greeting =
            wire.reply(timeouts.greeting).await.map_err(|broken| cut(server, Step::Greeting, &broken))?;
        if !greeting.is_success() {
            return Err(refused_connection(Step::Greeting, server, &greeting));
        }
        Self::after_tls(wire, server, timeouts).await
    }

    /// Introduces us, as the first thing or again after STARTTLS.
    pub(super) async fn after_tls(mut wire: Wire, server: &str, timeouts: Timeouts) -> Result<Self, Stop> {
        let hello = Ehlo::new(our_name(&wire));
        let ehlo = ask(&mut wire, &hello, timeouts.command).await;
        let ehlo = ehlo.map_err(|broken| cut(server, Step::Ehlo, &broken))?;
        if !ehlo.is_success() {
            return Err(refused_connection(Step::Ehlo, server, &ehlo));
        }
        let offers = Offers::read(&ehlo);
        Ok(Self { wire, server: server.to_owned(), timeouts, offers, is_idle: true, is_lost: false })
    }

    /// Asks for encryption, and returns the connection for the handshake.
    pub(super) async fn start_tls(mut self) -> Result<Wire, Stop> {
        if !self.offers.has("STARTTLS") {
            return Err(Stop::Refused(format!(
                "`{}` does not offer STARTTLS: without encryption nothing is sent (`?tls=none` in BATCHCTL_SMTP_URL allows it)",
                self.server
            )));
        }
        let reply = self.ask_for_all(Step::StartTls, &Starttls).await?;
        if reply.is_success() {
            Ok(self.wire)
        } else {
            Err(refused_connection(Step::StartTls, &self.server, &reply))
        }
    }

    /// Proves who we are.
    pub(super) async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Stop> {
        let offered = |mechanism: &Mechanism| self.offers.mechanisms.contains(&mechanism.to_string());
        let Some(mechanism) = [Mechanism::Plain, Mechanism::Login].into_iter().find(offered) else {
            return Err(Stop::Refused(format!("`{}` offers neither AUTH PLAIN nor AUTH LOGIN", self.server)));
        };
        let server = self.server.clone();
        let unexpected =
            || Stop::Refused(format!("`{server}` asks for something other than AUTH {mechanism} does"));
        let begin = Auth::new(mechanism, credentials.clone(), None).map_err(|_| unexpected())?;
        let mut reply = self.ask_for_all(Step::Auth, &begin).await?;
        for _ in 0..MAX_CHALLENGES {
            if reply.code != 334 {
                break;
            }
            let challenge: Response =
                format!("334 {}\r\n", reply.lines.concat()).parse().map_err(|_| unexpected())?;
            let answer = Auth::new_from_response(mechanism, credentials.clone(), &challenge)
                .map_err(|_| unexpected())?;
            reply = self.ask_for_all(Step::Auth, &answer).await?;
        }
        match reply.code / 100 {
            2 => Ok(()),
            3 => Err(unexpected()),
            _ => Err(refused_connection(Step::Auth, &self.server, &reply)),
        }
    }

    async fn ask_for_all(&mut self, step: Step, command: &impl Display) -> Result<Reply, Stop> {
        let reply = ask(&mut self.wire, command, self.timeouts.command).await;
        reply.map_err(|broken| cut(&self.server, step, &broken))
    }

    /// Whether the next mail may use this connection.
    pub fn is_usable(&mut self) -> bool {
        self.is_idle && !self.wire.is_closed()
    }

    /// Hands over a mail. `Err` means that no further mail should be tried, here or on another connection.
    ///
    /// The mail itself waits for `clearance`; sender and recipient are given to the server meanwhile. `None` if
    /// clearance is never given: the server has no mail, and the connection is no longer usable.
    pub async fn send_when(
        &mut self,
        mail: &Built,
        clearance: impl Future<Output = bool>,
    ) -> Result<Option<Outcome>, Stop> {
        if let Some(reply) = self.unfit(mail) {
            return Ok(Some(Outcome::Rejected { reply, because: Rejection::Mail }));
        }
        self.is_idle = false;
        if let Err(ended) = self.introduce(mail).await {
            return self.settle(ended).await.map(Some);
        }
        if !clearance.await {
            return Ok(None);
        }
        self.hand_over(mail).await.map(Some)
    }

    /// Hands over a mail at once.
    #[cfg(test)]
    pub(super) async fn send(&mut self, mail: &Built) -> Result<Outcome, Stop> {
        self.send_when(mail, std::future::ready(true)).await.map(Option::unwrap)
    }

    async fn hand_over(&mut self, mail: &Built) -> Result<Outcome, Stop> {
        // Closed, or unsolicited data, while waiting for clearance: the server cannot have the mail yet, which could
        // no longer be known once it was on its way.
        if self.wire.is_closed() {
            return Ok(slowed(Step::Message, &Break::Closed));
        }
        if let Err(ended) = self.transmit(&mail.bytes).await {
            return self.settle(ended).await;
        }
        // From here on the server has the whole mail: silence is not a refusal.
        match self.wire.reply(self.timeouts.message).await {
            Ok(reply) if reply.is_success() => {
                self.is_idle = true;
                Ok(Outcome::Accepted { reply: reply.text(), provider_message_id: None })
            }
            Ok(reply) if reply.code / 100 == 3 => Ok(Outcome::Unknown { reply: reply.text() }),
            Ok(reply) => {
                self.is_idle = reply.code != CLOSING;
                refused_mail(Step::Message, &reply)
            }
            Err(broken) => Ok(Outcome::Unknown { reply: kept(&broken.describe(Step::Message)) }),
        }
    }

    /// What the server announced that it does not accept.
    fn unfit(&self, mail: &Built) -> Option<String> {
        let size = mail.bytes.len();
        match self.offers.size {
            Some(most) if most > 0 && u64::try_from(size).is_ok_and(|size| size > most) => {
                Some(format!("the mail has {size} bytes, the server accepts at most {most} (SIZE)"))
            }
            _ if !is_ascii(&mail.envelope) && !self.offers.has("SMTPUTF8") => {
                Some("the address is not ASCII, and the server offers no SMTPUTF8".to_owned())
            }
            _ if !mail.bytes.is_ascii() && !self.offers.has("8BITMIME") => {
                Some("the mail is not ASCII, and the server offers no 8BITMIME".to_owned())
            }
            _ => None,
        }
    }

    /// Sender, recipient and DATA: in one packet where the server offers PIPELINING (RFC 2920).
    async fn introduce(&mut self, mail: &Built) -> Result<(), Ended> {
        let (sender, recipient) = self.commands(mail);
        if !self.offers.has("PIPELINING") {
            self.exchange(Step::MailFrom, &sender).await?;
            self.exchange(Step::Recipient, &recipient).await?;
            let sent = self.wire.send(Data.to_string().as_bytes(), self.timeouts.command).await;
            sent.map_err(|broken| Ended::Broken(Step::Data, broken))?;
            return self.go_ahead().await;
        }
        let limit = self.timeouts.command;
        let sent = self.wire.send(format!("{sender}{recipient}{Data}").as_bytes(), limit).await;
        sent.map_err(|broken| Ended::Broken(Step::MailFrom, broken))?;
        let from = self.next_reply(Step::MailFrom).await?;
        if !from.is_success() {
            return Err(self.drain(Step::MailFrom, from).await);
        }
        let to = self.next_reply(Step::Recipient).await?;
        if !to.is_success() {
            return Err(self.drain(Step::Recipient, to).await);
        }
        self.go_ahead().await
    }

    async fn go_ahead(&mut self) -> Result<(), Ended> {
        let reply = self.next_reply(Step::Data).await?;
        if reply.code != GO_AHEAD {
            return Err(Ended::Refused(Step::Data, reply));
        }
        // There is nothing to reply before the mail is sent: a "250" that is already here would be mistaken for its
        // acceptance.
        if self.wire.has_more() { Err(Ended::Broken(Step::Data, Break::Gibberish)) } else { Ok(()) }
    }

    fn commands(&self, mail: &Built) -> (String, String) {
        let mut parameters = Vec::new();
        if self.offers.size.is_some() {
            parameters.push(MailParameter::Size(mail.bytes.len()));
        }
        if !mail.bytes.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if !is_ascii(&mail.envelope) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let sender = Mail::new(mail.envelope.from().cloned(), parameters).to_string();
        let recipients = mail.envelope.to().iter().map(|to| Rcpt::new(to.clone(), Vec::new()).to_string());
        (sender, recipients.collect())
    }

    /// Reads the replies to the rest of the packet, whose first refusal is known.
    async fn drain(&mut self, step: Step, refusal: Reply) -> Ended {
        // It does not matter whether the rest breaks: why the mail was refused is known.
        self.is_lost = refusal.code == CLOSING || self.read_rest(step).await.is_none();
        Ended::Refused(step, refusal)
    }

    /// `None` if the connection is no longer usable.
    async fn read_rest(&mut self, refused: Step) -> Option<()> {
        let limits = self.timeouts;
        let still_open = |reply: Reply| (reply.code != CLOSING).then_some(reply);
        let mut is_recipient_taken = false;
        if refused == Step::MailFrom {
            let reply = self.wire.reply(limits.command).await.ok().and_then(still_open)?;
            is_recipient_taken = reply.is_success();
        }
        let reply = self.wire.reply(limits.data).await.ok().and_then(still_open)?;
        if reply.code == GO_AHEAD {
            // It waits for a mail. Without a recipient the answer is a lone dot (RFC 2920 section 3.1); with one,
            // somebody would get an empty mail: only closing the connection is left.
            if is_recipient_taken {
                return None;
            }
            self.wire.send(b".\r\n", limits.block).await.ok()?;
            self.wire.reply(limits.message).await.ok().and_then(still_open)?;
        }
        Some(())
    }

    /// The mail itself and the final dot, with another dot added to lines that begin with one (RFC 5321 section
    /// 4.5.2). After an error the server does not have the final dot: it is the end of the last block.
    async fn transmit(&mut self, mail: &[u8]) -> Result<(), Ended> {
        let mut block = Vec::with_capacity(mail.len().min(BLOCK_BYTES) + MAX_LINE_BYTES);
        for line in mail.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                block.push(b'.');
            }
            block.extend_from_slice(line);
            if block.len() >= BLOCK_BYTES {
                self.transmit_block(&block).await?;
                block.clear();
            }
        }
        block.extend_from_slice(b".\r\n");
        self.transmit_block(&block).await
    }

    async fn transmit_block(&mut self, block: &[u8]) -> Result<(), Ended> {
        let Err(broken) = self.wire.send(block, self.timeouts.block).await else { return Ok(()) };
        self.is_lost = true;
        Err(match self.wire.reply(LAST_WORDS_LIMIT).await {
            Ok(reply) if reply.code >= 400 => Ended::Refused(Step::Message, reply),
            _ => Ended::Broken(Step::Message, broken),
        })
    }

    async fn exchange(&mut self, step: Step, command: &str) -> Result<(), Ended> {
        let sent = self.wire.send(command.as_bytes(), self.timeouts.command).await;
        sent.map_err(|broken| Ended::Broken(step, broken))?;
        let reply = self.next_reply(step).await?;
        if reply.is_success() { Ok(()) } else { Err(Ended::Refused(step, reply)) }
    }

    async fn next_reply(&mut self, step: Step) -> Result<Reply, Ended> {
        let limit = if step == Step::Data { self.timeouts.data } else { self.timeouts.command };
        self.wire.reply(limit).await.map_err(|broken| Ended::Broken(step, broken))
    }

    /// The outcome of a mail that was not delivered. The connection is kept if possible.
    async fn settle(&mut self, ended: Ended) -> Result<Outcome, Stop> {
        let (step, reply) = match ended {
            // The server has heard nothing of this mail yet: whichever came next would have met with the same.
            Ended::Broken(Step::MailFrom, broken) => return Ok(slowed(Step::MailFrom, &broken)),
            Ended::Broken(step, broken) => {
                return Ok(Outcome::Deferred {
                    reply: kept(&broken.describe(step)),
                    because: Deferral::Unsaid,
                });
            }
            Ended::Refused(step, reply) => (step, reply),
        };
        if reply.code < 400 {
            // Neither yes nor no: the two sides are out of sync.
            let reply = format!("unexpected answer to {}: {}", step.name(), reply.text());
            return Ok(Outcome::Deferred { reply: kept(&reply), because: Deferral::Unsaid });
        }
        let outcome = refused_mail(step, &reply)?;
        if !self.is_lost && reply.code != CLOSING {
            let reset = ask(&mut self.wire, &Rset, self.timeouts.command).await;
            self.is_idle = reset.is_ok_and(|reply| reply.is_success());
        }
        Ok(outcome)
    }

    /// Sends QUIT. Every mail is already settled.
    pub async fn quit(mut self) {
        if self.is_usable() {
            // The answer changes nothing.
            let _ = ask(&mut self.wire, &Quit, self.timeouts.quit).await;
        }
        self.wire.close(self.timeouts.quit).await;
    }
}

/// The connection broke for no reason that the mail could have given.
fn slowed(step: Step, broken: &Break) -> Outcome {
    Outcome::SlowDown { reply: kept(&broken.describe(step)), wait: None }
}

fn is_ascii(envelope: &Envelope) -> bool {
    envelope.to().iter().chain(envelope.from()).all(|address| AsRef::<str>::as_ref(address).is_ascii())
}

/// Sends a command and waits for its answer.
async fn ask(wire: &mut Wire, command: &impl Display, limit: Duration) -> Result<Reply, Break> {
    wire.send(command.to_string().as_bytes(), limit).await?;
    wire.reply(limit).await
}

/// The connection broke before any mail.
fn cut(server: &str, step: Step, broken: &Break) -> Stop {
    let message = format!("failed to connect to `{server}`: {}", broken.describe(step));
    match broken {
        // Another service on that port: waiting will not make it a mail server.
        Break::Gibberish => Stop::Refused(message),
        _ => Stop::Unreachable(message),
    }
}

/// RFC 5321 section 4.1.3: the host's full name, or the address of our end of the connection.
fn our_name(wire: &Wire) -> ClientId {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let is_full = name.contains('.')
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    match (is_full, wire.local_address().map(|address| address.ip())) {
        (true, _) => ClientId::Domain(name.into_owned()),
        (false, Some(IpAddr::V6(address))) => ClientId::Ipv6(address),
        (false, Some(IpAddr::V4(address))) => ClientId::Ipv4(address),
        (false, None) => ClientId::default(),
    }
}
