//! `config check`: reads everything, changes nothing, and reports what is wrong.

use crate::channels;
use crate::config::{Config, TransportKind, UnsubscribeConfig};
use crate::context::Context;
use crate::db::{Place, encryption};
use crate::documents::pdf;
use crate::failure::{Failure, one_line};
use crate::locale::Locale;
use crate::mail::advertising::{Advertising, confirmations};
use crate::mail::dkim::DkimSigner;
use crate::mail::outgoing::Gate;
use crate::mail::template::{FindingLevel, Templates};
use crate::mail::unsubscribe::Unsubscribe;
use crate::severity::Severity;
use crate::wording::counted;

use super::data;
use super::events;
use super::report::publication::font_folders;

/// Check the configuration
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Check variables, `.env` files and `batchctl.toml`
    Check,
}

impl ConfigCommand {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        // An error in a value or a key has already ended the program.
        let mut problems = cx.config.warnings();
        if cx.config.is_prod() {
            problems.extend(cx.config.doubts_about_folders());
        }
        problems.extend(cx.refuse_unusable_environment().await.err().map(|error| one_line(&error)));
        problems.extend(data::import::mapping_problems(cx));
        for channel in Severity::ALL.iter().flat_map(|severity| cx.config.alert_channels(*severity)) {
            problems.extend(cx.config.channel_problems(channel));
            problems.extend(channels::url_problem(&cx.config, channel));
        }
        for folder in cx.config.pdf_font_dirs().into_iter().chain(cx.config.pdf_template_dir()) {
            if !folder.is_dir() {
                problems.push(format!("the folder `{}` of [pdf] does not exist", folder.display()));
            }
        }
        let template_dir = cx.config.pdf_template_dir().filter(|folder| folder.is_dir());
        if let Err(error) = pdf::check(template_dir.as_deref(), font_folders(cx)) {
            problems.push(one_line(&error));
        }
        problems.extend(mail_problems(cx));
        let of_events = events::publish::checking::problems(cx).await;
        problems.extend(of_events.into_iter().map(|failure| failure.to_string()));
        problems.dedup();
        if let Some(encryption) = encryption(cx.config.database_url()) {
            let place = Place::of(cx.config.database_url());
            cx.output.text(&format!("{place}: {encryption}"))?;
        }
        if let Some(note) = refused_languages(&cx.config) {
            cx.output.text(&note)?;
        }
        if problems.is_empty() {
            let environment = cx.config.environment();
            return Ok(cx
                .output
                .data(format!("the configuration of `{environment}` is valid\n").as_bytes())?);
        }
        cx.output.text(&problems.join("\n"))?;
        let problems = counted(problems.len(), "problem", "problems");
        Err(Failure::configuration(format!("the configuration has {problems}")).into())
    }
}

/// What would make the mail commands fail: the parts they open are opened here, and their errors are reported.
fn mail_problems(cx: &Context) -> Vec<String> {
    let config = &cx.config;
    if !uses_mail(config) {
        return Vec::new();
    }
    let mut failures =
        vec![Templates::new(config).usable().err(), Gate::new(config).err(), DkimSigner::new(config).err()];
    // Opening a folder creates it, and this command changes nothing.
    let goes_to_a_folder = match config.mail().transport {
        Some(kind) => kind == TransportKind::Folder,
        None => config.mail().smtp_url.is_none() && !config.is_prod(),
    };
    if !goes_to_a_folder {
        failures.push(cx.mail_transport().err());
    }
    if config.mail().unsubscribe != UnsubscribeConfig::default() || confirms_consents(config) {
        failures.push(Unsubscribe::new(config).err());
        failures.push(Advertising::new(config).lacks(config.locale()));
    }
    if config.mail().from.is_none() {
        failures.push(Some(Failure::configuration("BATCHCTL_MAIL_FROM is not set: mails need a sender")));
    }
    let failures = failures.into_iter().flatten().map(|failure| failure.to_string());
    failures.chain(template_problems(config)).collect()
}

/// Whether there is advertising to readers whose consents have to be confirmed, which takes a link to withdraw them.
fn confirms_consents(config: &Config) -> bool {
    let is_advertising = ["digest", "cart_remind"].into_iter().any(|table| config.has_table(table));
    is_advertising && confirmations().any(|confirmation| confirmation.language == config.locale())
}

/// The other languages in which advertising would be refused: whether a shop writes in them is for its members to say.
fn refused_languages(config: &Config) -> Option<String> {
    if !uses_mail(config) || config.mail().unsubscribe == UnsubscribeConfig::default() {
        return None;
    }
    let advertising = Advertising::new(config);
    if advertising.lacks(config.locale()).is_some() {
        return None;
    }
    let others = Locale::ALL.into_iter().filter(|language| *language != config.locale());
    let refused: Vec<String> = others
        .filter_map(|language| advertising.lacks(language))
        .map(|failure| failure.to_string())
        .collect();
    (!refused.is_empty())
        .then(|| format!("to members with another language nothing would be sent: {}", refused.join("; ")))
}

/// What `mail templates check` would report of texts that are not the built-in ones, which a test checks.
fn template_problems(config: &Config) -> Vec<String> {
    let templates = Templates::new(config);
    if config.mail().template_dir.is_none() || templates.usable().is_err() {
        return Vec::new();
    }
    match templates.check(&[]) {
        Ok(findings) => {
            let errors = findings.into_iter().filter(|finding| finding.level == FindingLevel::Error);
            errors.map(|finding| finding.message).collect()
        }
        Err(error) => vec![one_line(&error)],
    }
}

/// Whether mail is used at all: a shop without it needs none of its settings.
fn uses_mail(config: &Config) -> bool {
    let mail = config.mail();
    config.has_table("mail")
        || !config.report().delivery.is_empty()
        || mail.smtp_url.is_some()
        || mail.from.is_some()
}
