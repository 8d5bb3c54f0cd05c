//! The transport that the configuration chose for mails: SMTP, Amazon SES, `SendGrid`, or a folder.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::config::{Config, TransportKind};
use crate::context::Context;
use crate::failure::Failure;
use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::mail::dkim::DkimSigner;
use crate::mail::message;
use crate::mail::outgoing::OutgoingMail;

use super::mail_folder::MailFolder;
use super::sendgrid::{self, SendGrid};
use super::ses::{self, Ses};
use super::smtp::{self, SmtpConnection, SmtpServer};

/// A configured transport. Cheap to clone: each concurrent sender has one.
#[derive(Clone)]
pub struct MailTransport {
    route: Arc<Route>,
    /// The server's name, for messages.
    server: Arc<str>,
    /// Whose log-in it uses, and where that was written.
    login: Arc<str>,
    signer: Option<Arc<DkimSigner>>,
}

enum Route {
    Smtp(SmtpServer),
    Ses(Ses),
    SendGrid(SendGrid),
    Folder(MailFolder),
}

impl Context {
    /// The transport for mails, read from the settings on first use.
    pub fn mail_transport(&self) -> Result<MailTransport, Failure> {
        self.once(|| MailTransport::new(self))
    }
}

impl MailTransport {
    /// The transport of the configuration: that of `mail.transport`, otherwise SMTP if `BATCHCTL_SMTP_URL` is set,
    /// otherwise, outside prod, a folder.
    fn new(cx: &Context) -> Result<Self, Failure> {
        let config = &cx.config;
        let settings = config.mail();
        let has_server = settings.smtp_url.is_some();
        let kind = match settings.transport {
            Some(kind) => kind,
            None if has_server => TransportKind::Smtp,
            None if !config.is_prod() => TransportKind::Folder,
            None => {
                return Err(Failure::configuration(
                    "BATCHCTL_SMTP_URL is not set, and `mail.transport` names no other transport for mails",
                )
                .hint("write smtps://USER:PASSWORD@HOST, or choose transport = \"ses\" below [mail] of batchctl.toml"));
            }
        };
        let route = match kind {
            TransportKind::Smtp => Route::Smtp(SmtpServer::new(config)?),
            TransportKind::Ses => Route::Ses(Ses::new(cx)?),
            TransportKind::Sendgrid => Route::SendGrid(SendGrid::new(cx)?),
            TransportKind::Folder => Route::Folder(MailFolder::new(config)?),
        };
        let server = match &route {
            Route::Smtp(server) => server.name(),
            Route::Ses(_) => "Amazon SES",
            Route::SendGrid(_) => "SendGrid",
            Route::Folder(_) => "the folder",
        };
        Ok(Self {
            server: server.into(),
            route: Arc::new(route),
            login: login(config, kind).into(),
            signer: DkimSigner::new(config)?.map(Arc::new),
        })
    }

    /// The server's name, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whose log-in it uses, and where that was written, for a person who has to correct it.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Opens a connection, if the transport has one.
    pub async fn open(&self) -> Result<MailConnection, Stop> {
        let smtp = match &*self.route {
            Route::Smtp(server) => Some(server.connect().await?),
            Route::Ses(_) | Route::SendGrid(_) | Route::Folder(_) => None,
        };
        Ok(MailConnection { transport: self.clone(), smtp })
    }
}

/// Whose log-in a transport uses, and where that was written.
fn login(config: &Config, kind: TransportKind) -> String {
    let settings = config.mail();
    let variable = |named: &Option<String>, default: &str| config.set_at(named.as_deref().unwrap_or(default));
    match kind {
        TransportKind::Smtp => {
            let url = settings.smtp_url.as_ref().and_then(|url| url::Url::parse(url.expose()).ok());
            let user = url.map(|url| percent_decode_str(url.username()).decode_utf8_lossy().into_owned());
            let user = user.unwrap_or_default();
            let place = config.set_at(smtp::VARIABLE);
            if user.is_empty() {
                return format!(
                    "the URL in {place}, which has no user and password (smtp://USER:PASSWORD@HOST)"
                );
            }
            format!("the user `{user}` and the password in {place}")
        }
        TransportKind::Ses => format!(
            "{} and {}",
            variable(&settings.ses.access_key_id_variable, ses::ACCESS_KEY_ID),
            variable(&settings.ses.secret_access_key_variable, ses::SECRET_ACCESS_KEY)
        ),
        TransportKind::Sendgrid => variable(&settings.sendgrid.api_key_variable, sendgrid::API_KEY),
        TransportKind::Folder => String::new(),
    }
}

/// One connection, for one mail at a time.
pub struct MailConnection {
    transport: MailTransport,
    smtp: Option<SmtpConnection>,
}

impl MailConnection {
    /// Sends one mail to its one recipient.
    pub async fn send(&mut self, mail: &OutgoingMail) -> Result<Outcome, Stop> {
        let held_back =
            || Outcome::Deferred { reply: "the mail was held back".to_owned(), because: Deferral::Unsaid };
        Ok(self.send_when(mail, std::future::ready(true)).await?.unwrap_or_else(held_back))
    }

    /// Sends one mail to its one recipient, once `clearance` allows it. What can be settled with the server before is
    /// settled meanwhile. `None` if clearance is never given: the mail has not left, and the connection is no longer
    /// usable.
    pub async fn send_when(
        &mut self,
        mail: &OutgoingMail,
        clearance: impl Future<Output = bool>,
    ) -> Result<Option<Outcome>, Stop> {
        if let Route::SendGrid(sendgrid) = &*self.transport.route {
            // It builds and signs the message itself.
            return if clearance.await { sendgrid.send(mail).await.map(Some) } else { Ok(None) };
        }
        let built = match message::build(mail, self.transport.signer.as_deref()) {
            Ok(built) => built,
            Err(reply) => return Ok(Some(Outcome::Rejected { reply, because: Rejection::Mail })),
        };
        if let (Route::Smtp(server), Some(smtp)) = (&*self.transport.route, &mut self.smtp) {
            // The server may have closed it while it was idle.
            if !smtp.is_usable() {
                *smtp = server.connect().await?;
            }
            return smtp.send_when(&built, clearance).await;
        }
        if !clearance.await {
            return Ok(None);
        }
        match &*self.transport.route {
            Route::Ses(ses) => {
                ses.send(mail.content().from.email.as_ref(), mail.to().email.as_ref(), &built.bytes).await
            }
            Route::Folder(folder) => folder.send(mail, built).await,
            Route::SendGrid(_) | Route::Smtp(_) => {
                Err(Stop::Unreachable("the connection was not opened".to_owned()))
            }
        }
        .map(Some)
    }

    /// Whether it can send another mail.
    pub fn is_usable(&mut self) -> bool {
        self.smtp.as_mut().is_none_or(SmtpConnection::is_usable)
    }

    /// Closes it cleanly.
    pub async fn close(self) {
        if let Some(smtp) = self.smtp {
            smtp.quit().await;
        }
    }
}
