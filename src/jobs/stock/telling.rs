//! Who is told about stock: a channel, and recipients of a mail.

use anyhow::Context as _;
use serde_json::json;

use crate::channels::{Message, kept};
use crate::config::AlertChannel;
use crate::context::Context;
use crate::db::Db;
use crate::mail::queue::{NewMail, USUAL, enqueue};
use crate::mail::template::{RenderedMail, Renderer};
use crate::runner::{JobSpec, Run};
use crate::severity::Severity;

/// The template of a mail that says what a message says.
const TEMPLATE: &str = "notification";

/// Those who are told.
pub(super) struct Recipients<'c> {
    channels: Vec<&'c AlertChannel>,
    mail_to: &'c [String],
    /// The channel's name if another one gets its messages, as outside prod.
    instead_of: Option<&'c str>,
}

impl<'c> Recipients<'c> {
    /// Those of a job: the channel of `[stock]` or those of the job's severity, and the recipients of `[stock]`.
    pub(super) fn of(cx: &'c Context, spec: &JobSpec) -> Self {
        let stock = cx.config.stock();
        let channels = cx.config.channels_of_message(stock.channel.as_deref(), severity(cx, spec));
        let named = stock.channel.as_deref();
        let instead_of = named.filter(|name| channels.iter().any(|channel| channel.name != **name));
        Self { channels, mail_to: &stock.mail_to, instead_of }
    }

    /// Whether there are none: then nothing is told, and what there is to tell waits until there are.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.mail_to.is_empty()
    }

    /// The mail that says what a message says; `None` if nobody gets one. Rendered before a transaction, since a template
    /// may take its time.
    async fn mail(&self, cx: &Context, message: &Message) -> anyhow::Result<Option<RenderedMail>> {
        if self.mail_to.is_empty() {
            return Ok(None);
        }
        // A message of one line is a title alone, and a mail without a text says nothing.
        let body = if message.lines.is_empty() { message.title.clone() } else { message.lines.join("\n") };
        let data = json!({ "title": message.title, "body": body, "url": null, "url_label": null });
        let language = cx.config.locale().tag();
        let rendered = Renderer::new(&cx.config).render(TEMPLATE, language, data).await;
        rendered.map(Some).with_context(|| format!("failed to write a mail by the template `{TEMPLATE}`"))
    }

    /// The same; if it cannot be written, that fails by itself and the channels are told all the same.
    pub(super) async fn mail_or_fail(&self, run: &mut Run<'_>, message: &Message) -> Option<RenderedMail> {
        match self.mail(run.cx, message).await {
            Ok(mail) => mail,
            Err(error) => {
                run.fail_part(&message.id, "mail", &error);
                None
            }
        }
    }

    /// Keeps a message for the channels and queues its mails, in a transaction of the caller's.
    pub(super) async fn tell(
        &self,
        cx: &Context,
        db: &mut Db,
        message: &Message,
        mail: Option<&RenderedMail>,
    ) -> anyhow::Result<()> {
        let mut posted = message.clone();
        if let Some(name) = self.instead_of {
            posted.title = format!("[to {name}] {}", message.title);
        }
        kept::keep(db, &self.channels, &posted, cx.machine_time()).await?;
        let Some(rendered) = mail else { return Ok(()) };
        for recipient in self.mail_to {
            let mail = NewMail {
                rendered: rendered.clone(),
                recipient: recipient.clone(),
                member: None,
                priority: USUAL,
                due_at: message.at,
                dedup_key: Some(format!("{}/{recipient}", message.id)),
                attachments: Vec::new(),
            };
            enqueue(db, &mail, cx.now()).await?;
        }
        Ok(())
    }
}

/// The severity of a job's messages.
pub(super) fn severity(cx: &Context, spec: &JobSpec) -> Severity {
    cx.config.job_severity(spec.name).unwrap_or(spec.severity)
}
