//! Reports by mail: recipients, malls and files; each recipient gets the same content only once.
//!
//! `--mail-to` sends what was asked for. A scheduled delivery (`[[report.delivery]]`) is sent whenever a run ends with
//! its figures complete, and only for the newest finished period of its malls: a backfill sends nothing. A mail is
//! identified by its figures, so that a run that is killed and restarted, or simply started twice, sends nothing twice,
//! and changed figures are sent again.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::NaiveDate;
use clap::ValueEnum as _;
use serde_json::{Value, json};

use crate::address;
use crate::config::{Config, ConfigError, DeliveryConfig, ProvisionalMails};
use crate::context::Context;
use crate::db::Db;
use crate::digest::fingerprint;
use crate::documents::{Format, Table, csv, pdf};
use crate::failure::{Failure, one_line};
use crate::locale::Locale;
use crate::mail::outgoing::Attachment;
use crate::mail::queue::{self, NewMail};
use crate::mail::template::Renderer;
use crate::runner::{JobSpec, failpoint};
use crate::shop::malls::{Mall, MallArgs, all_malls, selected_malls};
use crate::text_encoding::TextEncoding;
use crate::values;
use crate::wording::{command, counted};

use super::awaited;
use super::daily_sales;
use super::driver::Report;
use super::outdated::FigureTable;
use super::periods::{Step, bounds, current_in, zone_of};
use super::publication::{Content, PublicationArgs};
use super::stale;
use super::told::{self, Address, Headline, Mailed, Place, Standing, Told};

/// What a job provides to have its report mailed.
pub struct Sender<'a> {
    /// The report's name in `batchctl.toml`, which is also that of its mail template.
    pub name: &'static str,
    /// How long a period of it is.
    pub step: Step,
    /// The job's flags.
    pub publication: &'a PublicationArgs,
    /// The malls that the command named.
    pub malls: &'a MallArgs,
    /// See [`Report::IS_ATTACHED`].
    pub is_attached: bool,
    /// Whether the command named days.
    pub are_days_named: bool,
    /// Where the figures are that it shows.
    pub table: FigureTable,
}

/// The group whose jobs are delivered: a report's name is the rest of its job's.
const GROUP: &str = "report ";

/// Refuses a scheduled delivery of a report that none of these jobs makes.
pub fn check_deliveries(config: &Config, jobs: &[JobSpec]) -> Result<(), ConfigError> {
    let known: Vec<&str> = jobs.iter().map(name_of).collect();
    let deliveries = config.report().delivery.iter().map(|delivery| delivery.report.as_str());
    match deliveries.enumerate().find(|(_, name)| !known.contains(name)) {
        Some((index, name)) => {
            let index = index.to_string();
            Err(config.unknown_value(&["report", "delivery", &index, "report"], name, "a report", &known))
        }
        None => Ok(()),
    }
}

/// The name of a report, in `batchctl.toml` and in the database.
pub fn report_name<R: Report>() -> &'static str {
    name_of(&<R as Report>::SPEC)
}

/// The name of the report that a job makes.
fn name_of(job: &JobSpec) -> &'static str {
    job.name.strip_prefix(GROUP).unwrap_or(job.name)
}

/// One mailing: the same content for several recipients.
pub struct Mailing {
    /// The first days of the periods it is about.
    pub periods: BTreeSet<NaiveDate>,
    /// The malls it is about.
    pub malls: Vec<Mall>,
    /// Its language.
    pub locale: Locale,
    /// The other malls of its delivery, in which the period is not over yet.
    pub waiting: Vec<Mall>,
    /// Whether it is a scheduled delivery: then only with final figures.
    pub is_scheduled: bool,
    recipients: Vec<String>,
    formats: Vec<Format>,
    subject: Option<String>,
    /// The malls, as [`Address::malls`], that the first mail about the period was about; `None` if they are the same.
    addressed_malls: Option<String>,
}

/// Who receives a report from a run, and about which malls.
struct Subscription {
    /// Normalised addresses.
    recipients: BTreeSet<String>,
    malls: Vec<Mall>,
    formats: String,
    locale: Locale,
}

/// A mail that is to be queued for one recipient.
struct Due {
    address: Address,
    key: String,
    /// Which of the mails about the period it is.
    place: Place,
}

impl Mailing {
    fn address_of(&self, recipient: &str) -> Address {
        let mut malls: Vec<i64> = self.malls.iter().map(|mall| mall.id).collect();
        malls.sort_unstable();
        let malls: Vec<String> = malls.iter().map(i64::to_string).collect();
        Address {
            recipient: recipient.to_owned(),
            malls: self.addressed_malls.clone().unwrap_or_else(|| malls.join(",")),
            formats: joined(&self.formats),
            locale: self.locale.tag().to_owned(),
        }
    }

    /// Whether two mailings differ in their recipients alone.
    fn is_like(&self, other: &Self) -> bool {
        let are_same = |(one, other): (&Mall, &Mall)| one.id == other.id;
        self.address_of("") == other.address_of("")
            && self.malls.len() == other.malls.len()
            && self.malls.iter().zip(&other.malls).all(are_same)
            && self.subject == other.subject
    }
}

/// Formats as [`Address::formats`].
fn joined(formats: &[Format]) -> String {
    formats.iter().map(Format::to_string).collect::<Vec<_>>().join(",")
}

/// The content of a mailing.
#[derive(Clone)]
pub struct Letter {
    /// The day, the week or the range, for people.
    pub period: String,
    /// The template's variables, except `attachments` and `provisional_malls`.
    pub data: Value,
    /// The malls whose figures are provisional, with the reasons: the template's `provisional_malls`.
    pub awaiting: Value,
    /// What identifies the mail: its figures, without those they are compared with.
    pub identity: Table,
    /// What its figures lack because it could not be computed or read, if anything.
    pub lacking: Option<Failure>,
    /// Pictures inside the HTML.
    pub pictures: Vec<Attachment>,
    /// The figures by which readers know the period; `None` if nobody has to be told when they change: those of several
    /// periods together, or of one that was not over.
    pub headlines: Option<Vec<Headline>>,
}

impl Letter {
    fn is_provisional(&self) -> bool {
        self.awaiting.as_array().is_some_and(|malls| !malls.is_empty())
    }
}

impl<'a> Sender<'a> {
    /// The sender of a report.
    pub fn of<R: Report>(report: &'a R) -> Self {
        let args = report.args();
        Self {
            name: report_name::<R>(),
            step: R::STEP,
            publication: &args.publication,
            malls: &args.malls,
            is_attached: R::IS_ATTACHED,
            are_days_named: args.dates.is_given(),
            table: R::TABLE.unwrap_or(daily_sales::TABLE),
        }
    }

    /// Refuses at the start a scheduled delivery that names an unknown mall.
    pub async fn check(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        for delivery in self.scheduled(cx) {
            malls_of_delivery(db, delivery).await?;
        }
        Ok(())
    }

    /// The mailings that are due, now that these instances are complete.
    pub async fn mailings(
        &self,
        cx: &Context,
        db: &mut Db,
        periods: &BTreeSet<NaiveDate>,
    ) -> anyhow::Result<Vec<Mailing>> {
        let selected = self.malls.selected(db).await?;
        let mut mailings = Vec::new();
        if !self.publication.mail_to.is_empty() {
            let mailing = |periods: BTreeSet<NaiveDate>, malls: Vec<Mall>, waiting: Vec<Mall>| Mailing {
                periods,
                malls,
                waiting,
                locale: self.publication.locale(cx),
                is_scheduled: false,
                recipients: without_duplicates(&self.publication.mail_to),
                formats: self.formats(&self.publication.format),
                subject: None,
                addressed_malls: None,
            };
            if self.are_days_named {
                mailings.push(mailing(periods.clone(), selected.clone(), Vec::new()));
            } else {
                // Where days end at different hours, the newest one of each mall: each mall is mailed once for each day.
                for &period in periods {
                    let malls = current_in(cx, self.step, period, selected.clone());
                    let waiting = self.waiting(cx, period, &selected);
                    mailings.push(mailing(BTreeSet::from([period]), malls, waiting));
                }
                mailings.retain(|mailing| !mailing.malls.is_empty());
            }
        }
        for delivery in self.scheduled(cx) {
            let malls = malls_of_delivery(db, delivery).await?;
            // A run for one mall must not mail a report on all of them.
            if !malls.iter().all(|mall| selected.iter().any(|selected| selected.id == mall.id)) {
                continue;
            }
            for &period in periods {
                let waiting = self.waiting(cx, period, &malls);
                let malls = current_in(cx, self.step, period, malls.clone());
                if malls.is_empty() {
                    continue;
                }
                mailings.push(Mailing {
                    periods: BTreeSet::from([period]),
                    malls,
                    waiting,
                    locale: delivery.locale.unwrap_or_else(|| self.publication.default_locale(cx)),
                    is_scheduled: true,
                    recipients: without_duplicates(&delivery.to),
                    formats: self.formats(&delivery.format),
                    subject: delivery.subject.clone(),
                    addressed_malls: None,
                });
            }
        }
        Ok(mailings)
    }

    /// Those of the malls in which a period is not over yet.
    fn waiting(&self, cx: &Context, period: NaiveDate, malls: &[Mall]) -> Vec<Mall> {
        let period = self.step.around(period);
        malls.iter().filter(|mall| bounds(period, zone_of(cx, mall)).end > cx.now()).cloned().collect()
    }

    /// Those who receive the report from this run, as normalised addresses.
    fn receiving(&self, cx: &Context) -> BTreeSet<String> {
        let scheduled = self.scheduled(cx).flat_map(|delivery| delivery.to.iter());
        let receiving = self.publication.mail_to.iter().chain(scheduled);
        receiving.filter_map(|address| normalised(address)).collect()
    }

    /// The periods of which those who receive the report from this run were told something else than is stored now.
    pub async fn owed_periods(&self, cx: &Context, db: &mut Db) -> anyhow::Result<BTreeSet<NaiveDate>> {
        let receiving = self.receiving(cx);
        if receiving.is_empty() {
            return Ok(BTreeSet::new());
        }
        let owed = told::owed(db, self.name, cx.now()).await?.into_iter();
        Ok(owed.filter(|(_, recipient)| is_among(recipient, &receiving)).map(|(period, _)| period).collect())
    }

    /// The mails about a period that were sent or held back before, to those who receive the report from this run and have
    /// to be told something else.
    pub async fn mailings_owed(
        &self,
        cx: &Context,
        db: &mut Db,
        standing: &Standing,
    ) -> anyhow::Result<Vec<Mailing>> {
        let receiving = self.receiving(cx);
        let malls = all_malls(db).await?;
        let subscriptions = self.subscriptions(cx, db).await?;
        let with_figures = malls_with_figures(db, self.table, standing.period).await?;
        let marked = stale::find_marked(db, self.table.report, standing.period).await?;
        let mut mailings: Vec<Mailing> = Vec::new();
        for told in standing.owed().filter(|told| is_among(&told.recipient, &receiving)) {
            let Ok(locale) = told.locale.parse() else { continue };
            let mut ids = told.mall_ids();
            let added = self.added_since(cx, &subscriptions, standing, told);
            // One that is not computed yet although its data has come is named instead.
            let is_waiting = |mall: &Mall| {
                added.contains(&mall.id) && marked.contains(&mall.id) && !with_figures.contains(&mall.id)
            };
            ids.extend(added.intersection(&with_figures));
            let formats = told.formats.split(',').filter_map(|format| Format::from_str(format, true).ok());
            let mailing = Mailing {
                periods: BTreeSet::from([standing.period]),
                malls: malls.iter().filter(|mall| ids.contains(&mall.id)).cloned().collect(),
                locale,
                waiting: malls.iter().filter(|mall| is_waiting(mall)).cloned().collect(),
                is_scheduled: true,
                recipients: vec![told.recipient.clone()],
                formats: formats.collect(),
                subject: told.subject.clone(),
                addressed_malls: Some(told.malls.clone()),
            };
            // The files are made once for all who get the same.
            match mailings.iter_mut().find(|other| other.is_like(&mailing)) {
                Some(other) => other.recipients.extend(mailing.recipients),
                None => mailings.push(mailing),
            }
        }
        Ok(mailings)
    }

    async fn subscriptions(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Subscription>> {
        let normalised = |addresses: &[String]| addresses.iter().filter_map(|to| normalised(to)).collect();
        let mut subscriptions = vec![Subscription {
            recipients: normalised(&self.publication.mail_to),
            malls: self.malls.selected(db).await?,
            formats: joined(&self.formats(&self.publication.format)),
            locale: self.publication.locale(cx),
        }];
        for delivery in self.scheduled(cx) {
            subscriptions.push(Subscription {
                recipients: normalised(&delivery.to),
                malls: malls_of_delivery(db, delivery).await?,
                formats: joined(&self.formats(&delivery.format)),
                locale: delivery.locale.unwrap_or_else(|| self.publication.default_locale(cx)),
            });
        }
        Ok(subscriptions)
    }

    /// The malls that were added to what somebody receives after they were told of a period: its total would lack them. Not
    /// those of which they were told by a mail of their own, or will be, because their days end at another hour.
    fn added_since(
        &self,
        cx: &Context,
        subscriptions: &[Subscription],
        standing: &Standing,
        told: &Told,
    ) -> BTreeSet<i64> {
        let Some(recipient) = normalised(&told.recipient) else { return BTreeSet::new() };
        let known = standing.malls_told(told);
        let is_same = |subscription: &&Subscription| {
            subscription.recipients.contains(&recipient)
                && subscription.formats == told.formats
                && subscription.locale.tag() == told.locale
                && told.mall_ids().iter().all(|id| subscription.malls.iter().any(|mall| mall.id == *id))
        };
        let malls = subscriptions.iter().filter(is_same).flat_map(|subscription| &subscription.malls);
        let is_added = |mall: &&Mall| {
            let newest = self.step.last_finished(cx.now(), zone_of(cx, mall)).first();
            !known.contains(&mall.id) && newest > standing.period
        };
        malls.filter(is_added).map(|mall| mall.id).collect()
    }

    /// Queues a mailing: a mail for each recipient who has not received this content yet, all or none. Who was told something
    /// else about the period is told what has changed. `standing` is what was known before the figures were loaded, of a mail
    /// about a single period.
    pub async fn send(
        &self,
        cx: &Context,
        db: &mut Db,
        mailing: &Mailing,
        letter: Letter,
        content: &Content<'_>,
        standing: Option<&Standing>,
    ) -> anyhow::Result<()> {
        let name = self.name;
        let digest = digest(&letter.identity)?;
        let formats: Vec<String> = mailing.formats.iter().map(Format::to_string).collect();
        let about = format!("{name}/{}/{digest}/{}/{}", letter.period, formats.join("+"), mailing.locale);
        let told_of = standing.zip(letter.headlines.as_ref());
        let is_held = letter.is_provisional() && cx.config.report().provisional == ProvisionalMails::Hold;
        let mut waiting = Ok(());
        // What each has to be told differs only if they were told different things.
        let mut due: Vec<(Value, Vec<Due>)> = Vec::new();
        for recipient in &mailing.recipients {
            let mailbox = address::parse(recipient)
                .map_err(|problem| Failure::usage(format!("failed to address a report: {problem}")))?;
            let address = mailing.address_of(recipient);
            let before = told_of.and_then(|(standing, _)| Some((standing, standing.of(&address)?)));
            if let Some((standing, told)) = before
                && (told.digest.as_deref() == Some(&digest) || is_held)
            {
                // What was told is true again, or is followed by what is final.
                told::settle(db, name, standing, &address, told).await?;
                continue;
            }
            if let Some((standing, told)) = before
                && let Some(failure) = self.lacking(mailing, &letter, standing, told)
            {
                waiting = Err(failure);
                continue;
            }
            let version =
                before.filter(|(_, told)| told.digest.is_some()).map_or(1, |(_, told)| told.version + 1);
            let mut key = format!("report/{about}/{}", address::normalised(&mailbox));
            if version > 1 {
                // What was told before may become true again.
                key.push_str(&format!("/{version}"));
            }
            // Checked first, because rendering the files of a report takes time.
            let had: Option<(i64,)> =
                db.fetch_optional("SELECT id FROM mails WHERE dedup_key = $1", values![&key]).await?;
            if had.is_some() {
                if let Some((standing, told)) = before {
                    told::settle(db, name, standing, &address, told).await?;
                }
                continue;
            }
            let before = before.map(|(_, told)| told);
            let correction = match (before, &letter.headlines) {
                (Some(before), Some(headlines)) => {
                    before.correction(headlines, letter.is_provisional(), mailing.locale)
                }
                _ => Value::Null,
            };
            let place = Place { after: before.map(|before| before.version), version };
            let one = Due { address, key, place };
            match due.iter_mut().find(|(other, _)| *other == correction) {
                Some((_, others)) => others.push(one),
                None => due.push((correction, vec![one])),
            }
        }
        if due.is_empty() && waiting.is_err() {
            return Ok(waiting?);
        }
        if due.is_empty() {
            let period = &letter.period;
            cx.output.status(&if is_held {
                format!("Report {name} {period} is held back until its figures are final")
            } else {
                format!("Report {name} {period} was already mailed")
            });
            return Ok(());
        }
        let mailed = told_of.map(|(standing, headlines)| Mailed {
            report: name,
            period: standing.period,
            revision: standing.revision,
            subject: mailing.subject.as_deref(),
            digest: Some(&digest),
            is_provisional: letter.is_provisional(),
            headlines,
        });
        if is_held {
            self.hold(cx, db, &letter, mailed.as_ref(), &due).await?;
            return Ok(waiting?);
        }
        let mut queued = 0;
        for (correction, recipients) in &due {
            let mut letter = letter.clone();
            letter.data["correction"] = correction.clone();
            queued += self.queue(cx, db, mailing, letter, content, recipients, mailed.as_ref()).await?;
        }
        cx.output.status(&format!("Queued {}", counted(queued, "mail", "mails")));
        Ok(waiting?)
    }

    /// What new figures lack of those that somebody was told. Unlike a first mail, one that lacks a mall would take back what
    /// its reader knows of it: it waits.
    fn lacking(
        &self,
        mailing: &Mailing,
        letter: &Letter,
        standing: &Standing,
        told: &Told,
    ) -> Option<Failure> {
        let is_told = told.digest.is_some();
        letter.lacking.clone().filter(|_| is_told).or_else(|| {
            let mall = told.missing(&mailing.malls, letter.headlines.as_deref()?)?;
            Some(waits_for(self.name, standing.period, mall))
        })
    }

    /// Notes first mails that wait until the figures are final.
    async fn hold(
        &self,
        cx: &Context,
        db: &mut Db,
        letter: &Letter,
        mailed: Option<&Mailed<'_>>,
        due: &[(Value, Vec<Due>)],
    ) -> anyhow::Result<()> {
        let now = cx.now();
        let (name, period) = (self.name, &letter.period);
        let Some(mailed) = mailed else {
            // Nobody follows up a mail about several days.
            cx.output.notice(&format!(
                "report {name} {period} is not mailed, because not all of its figures are final (`report.provisional` is \
                 \"hold\"): run it again once they are"
            ));
            return Ok(());
        };
        let held = Mailed { digest: None, headlines: &[], ..*mailed };
        db.transaction(async |db| {
            let recipients = due.iter().flat_map(|(_, recipients)| recipients);
            for one in recipients {
                told::note(db, &held, &one.address, Place { version: 0, ..one.place }, now).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        cx.output.status(&format!("Report {name} {period} is held back until its figures are final"));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what a mail is made of")]
    async fn queue(
        &self,
        cx: &Context,
        db: &mut Db,
        mailing: &Mailing,
        mut letter: Letter,
        content: &Content<'_>,
        recipients: &[Due],
        mailed: Option<&Mailed<'_>>,
    ) -> anyhow::Result<usize> {
        let mut attachments = Vec::new();
        for &format in &mailing.formats {
            let file = self.publication.render(cx, format, content, true).await?;
            attachments.push(Attachment {
                name: file.name,
                content_type: file.media_type,
                content_id: None,
                bytes: file.bytes,
            });
        }
        let names: Vec<&str> = attachments.iter().map(|file| file.name.as_str()).collect();
        let locale = mailing.locale;
        let word = match letter.data["correction"]["was_provisional"].as_bool() {
            Some(_) if letter.is_provisional() => Some(told::word_beside_provisional(locale)),
            _ if letter.is_provisional() => Some(awaited::word(locale)),
            Some(was_provisional) => Some(told::word(was_provisional, locale)),
            None => None,
        };
        letter.data["attachments"] = json!(names);
        letter.data["provisional_malls"] = letter.awaiting.clone();
        let mut rendered = Renderer::new(&cx.config)
            .render(self.name, locale.tag(), letter.data)
            .await
            .with_context(|| format!("failed to write the mail of report {}", self.name))?;
        if let Some(subject) = &mailing.subject {
            rendered.subject = subject.replace("{day}", &letter.period);
        }
        if let Some(word) = word {
            // Whatever the template: a reader of subjects alone has to see it.
            rendered.subject = marked_subject(&rendered.subject, word, locale);
        }
        attachments.append(&mut letter.pictures);
        let now = cx.now();
        failpoint::reach(&cx.config, "mails-made");
        db.transaction(async |db| {
            let mut queued = 0;
            for one in recipients {
                if let Some(mailed) = mailed
                    && !told::note(db, mailed, &one.address, one.place, now).await?
                {
                    // Another run has told them something meanwhile. If that was less than this, the next one goes on from it.
                    continue;
                }
                let mail = NewMail {
                    rendered: rendered.clone(),
                    recipient: one.address.recipient.clone(),
                    member: None,
                    priority: queue::USUAL,
                    due_at: now,
                    dedup_key: Some(one.key.clone()),
                    attachments: attachments.clone(),
                };
                queued += usize::from(queue::enqueue(db, &mail, now).await?.is_some());
            }
            failpoint::reach(&cx.config, "mails-noted");
            Ok(queued)
        })
        .await
        .inspect(|_| failpoint::reach(&cx.config, "mails-queued"))
    }

    fn scheduled<'c>(&self, cx: &'c Context) -> impl Iterator<Item = &'c DeliveryConfig> + use<'c> {
        let name = self.name;
        cx.config.report().delivery.iter().filter(move |delivery| delivery.report == name)
    }

    /// The formats asked for; by default the printable one, or none if the mail itself contains everything.
    fn formats(&self, asked: &[Format]) -> Vec<Format> {
        let mut formats = Vec::new();
        for format in asked {
            if !formats.contains(format) {
                formats.push(*format);
            }
        }
        if formats.is_empty() && self.is_attached {
            formats.push(if pdf::IS_BUILT_IN { Format::Pdf } else { Format::Xlsx });
        }
        formats
    }
}

/// The malls of which a period's stored figures are not all 0.
async fn malls_with_figures(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
) -> anyhow::Result<BTreeSet<i64>> {
    let FigureTable { name, period_column, figures, .. } = table;
    let are_there: Vec<String> = figures.iter().map(|figure| format!("{figure} <> 0")).collect();
    let are_there = if are_there.is_empty() { "TRUE".to_owned() } else { are_there.join(" OR ") };
    let sql = format!("SELECT DISTINCT mall_id FROM {name} WHERE {period_column} = $1 AND ({are_there})");
    let malls: Vec<(i64,)> = db.fetch_all(&sql, values![period]).await?;
    Ok(malls.into_iter().map(|(mall,)| mall).collect())
}

fn waits_for(report: &str, period: NaiveDate, mall: &Mall) -> Failure {
    let failure = Failure::failed(format!(
        "the new figures of report {report} {period} are not mailed yet: those of mall `{}`, which were mailed before, are missing",
        mall.code
    ));
    // The report for management shows what that on sales has stored.
    let computing = if report == stale::EXECUTIVE { stale::DAILY_SALES } else { report };
    failure.hint(command(&["report", computing, "--date", &period.to_string(), "--mall", &mall.code]))
}

/// The malls of a scheduled delivery. An unknown one is a mistake in the file, not in the command.
async fn malls_of_delivery(db: &mut Db, delivery: &DeliveryConfig) -> anyhow::Result<Vec<Mall>> {
    selected_malls(db, &delivery.mall).await.map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => Failure::configuration(format!(
            "`report.delivery.mall` of a delivery of {}: {failure}",
            delivery.report
        ))
        .hint(failure.hint.unwrap_or_default())
        .into(),
        Err(error) => error,
    })
}

/// The addresses without duplicates, ignoring case.
fn without_duplicates(addresses: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    addresses.iter().filter(|address| seen.insert(address.to_lowercase())).cloned().collect()
}

/// Whether an address is one of these normalised ones.
fn is_among(recipient: &str, addresses: &BTreeSet<String>) -> bool {
    normalised(recipient).is_some_and(|address| addresses.contains(&address))
}

fn normalised(recipient: &str) -> Option<String> {
    address::parse(recipient).ok().map(|mailbox| address::normalised(&mailbox))
}

/// A subject that begins with a word: `Provisional: Sales of …`, `【仮】…`, `[잠정] …`.
fn marked_subject(subject: &str, word: &str, locale: Locale) -> String {
    let mut initials = word.chars();
    let capitalised: String =
        initials.next().into_iter().flat_map(char::to_uppercase).chain(initials).collect();
    locale.pick(
        format!("{capitalised}: {subject}"),
        format!("【{word}】{subject}"),
        format!("[{word}] {subject}"),
    )
}

/// The columns of which no figure changes: what a code in another one is called, and that the data of the figures has
/// changed since.
const NO_FIGURES: [&str; 4] = ["mall_name", "name", "reason_name", "is_outdated"];

/// The fingerprint of the figures in a key, whatever they are called and in whatever order.
fn digest(figures: &Table) -> anyhow::Result<String> {
    let mut figures = figures.clone();
    figures.retain_columns(|column| !NO_FIGURES.contains(&column.key));
    let mut bytes = Vec::new();
    csv::write(&figures, Locale::En, TextEncoding::Utf8, &mut bytes)
        .map_err(|error| Failure::failed(one_line(&error)))?;
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    Ok(fingerprint(lines.join(&b'\n')))
}
