//! `mail digest`: sends the summaries of new articles to their readers.
//!
//! Subscribers get the summary, free members the free summary and an invitation; an article without a free summary goes
//! only to subscribers. Nobody gets an article twice: the ledger `article_deliveries` is written in the transaction
//! that queues the mail, and also serves as the checkpoint.
//!
//! A digest contains the newest articles since a given day, up to a limit; older ones of that period are never sent, so
//! that a second run finds nothing new to send.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use lettre::message::Mailbox;
use serde_json::{Value as Json, json};

use crate::address;
use crate::context::Context;
use crate::db::{Bulk, Db, FromRow, Problems, StoredKey};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::mail::queue::{BULK, NewMail, enqueue_many};
use crate::mail::template::Renderer;
use crate::mail::unsubscribe::Unsubscribe;
use crate::period::{day_bounds, parse_day};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::recipients::{
    ACTIVE_MEMBER, Addressed, PAGE, Purpose, agrees_to, assumes_consent, language,
};
use crate::shop::times::{Dated, Misdated, misdated};
use crate::wording::counted;
use crate::{bulk_row, values};

/// The template, which is also the mail's kind and the list that a recipient unsubscribes from.
const KIND: &str = "digest";
/// A week, because it runs once a week. Overlapping periods do no harm: the ledger knows what was sent.
const DAYS: u64 = 7;
/// Nobody reads more summaries than this.
const MAX_ARTICLES: i64 = 10;

/// Arguments of `mail digest`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Include articles published on this day or later: YYYY-MM-DD, yesterday or -7d (default: a week ago)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    since: Option<String>,
    /// Include at most this many articles in a digest, the newest ones
    #[arg(long, value_name = "COUNT", default_value_t = MAX_ARTICLES, value_parser = clap::value_parser!(i64).range(1..=50))]
    most_articles: i64,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mail digest",
        summary: "Queue digests of new articles to subscribers and free members",
        details: "Each member gets, in their own language, the newest articles since the given day that they have not \
                  received yet.",
        page: Some("docs/customer-mail.md"),
        schedule: Some("0 8 * * 1"),
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Job,
        items: Items::new("recipient", "recipients", "done"),
    };

    /// The first day of the articles.
    type Unit = NaiveDate;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<NaiveDate>>> {
        let since = self.since(cx)?;
        let malls = self.malls.selected(db).await?;
        Ok(vec![Planned::sweep(since).with("since", since.to_string()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, since: &NaiveDate) -> anyhow::Result<()> {
        let cx = run.cx;
        let texts =
            Texts { templates: Renderer::new(&cx.config), unsubscribe: Unsubscribe::new(&cx.config)? };
        let (mut to_subscribers, mut to_free_members) = (0, 0);
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&["members", "mail_consents", "subscriptions"]).await?;
        let malls = self.malls.selected(run.db).await?;
        for (mall, time_zone) in run.usable_malls(malls) {
            let from = day_bounds(*since, time_zone).start;
            let articles = Offered::load(run.db, &mall, from, cx.now(), self.most_articles).await?;
            let articles = fail_unreadable(run, &mall, articles).await?;
            let queued = send_to_mall(run, &texts, &mall, &articles).await?;
            to_subscribers += queued.to_subscribers;
            to_free_members += queued.to_free_members;
        }
        run.summarise(match to_subscribers + to_free_members {
            0 => "nothing new to send".to_owned(),
            total => format!(
                "queued {}: {} and {}",
                counted(total, "digest", "digests"),
                counted(to_subscribers, "to a subscriber", "to subscribers"),
                counted(to_free_members, "to a free member", "to free members"),
            ),
        });
        Ok(())
    }
}

impl Args {
    fn since(&self, cx: &Context) -> anyhow::Result<NaiveDate> {
        let today = cx.today();
        let Some(text) = &self.since else { return Ok(today - Days::new(DAYS)) };
        let since = parse_day(text, today).map_err(|error| Failure::usage(error.to_string()))?;
        if since > today {
            return Err(Failure::usage(format!("{since} is in the future")).into());
        }
        Ok(since)
    }
}

/// What turns articles into a mail.
struct Texts {
    templates: Renderer,
    unsubscribe: Unsubscribe,
}

#[derive(Debug, Default)]
struct Queued {
    to_subscribers: u64,
    to_free_members: u64,
}

// ---------------------------------------------------------------- the articles

/// An article as one kind of reader gets it.
#[derive(Debug, Clone, FromRow)]
struct Article {
    id: i64,
    title: String,
    summary: String,
    url: String,
    key: String,
    #[row(problems)]
    problems: Problems,
}

/// The articles of a mall for each kind of reader, newest first.
struct Offered(BTreeMap<(&'static str, bool), Vec<Article>>);

impl Offered {
    async fn load(
        db: &mut Db,
        mall: &Mall,
        from: DateTime<Utc>,
        now: DateTime<Utc>,
        most: i64,
    ) -> anyhow::Result<Self> {
        let mut articles = BTreeMap::new();
        for locale in Locale::ALL {
            for is_free in [false, true] {
                let newest = newest_articles(db, mall.id, from, now, locale, is_free, most).await?;
                articles.insert((locale.tag(), is_free), newest);
            }
        }
        Ok(Self(articles))
    }

    fn of(&self, locale: Locale, is_free: bool) -> &[Article] {
        self.0.get(&(locale.tag(), is_free)).map_or(&[], Vec::as_slice)
    }

    /// The ids of all its articles.
    fn ids(&self) -> HashSet<i64> {
        self.0.values().flatten().map(|article| article.id).collect()
    }
}

/// Takes out the articles that cannot be read. Their mall fails by name, and the others are sent: once they are corrected, a
/// retry has to ask all readers again.
async fn fail_unreadable(run: &mut Run<'_>, mall: &Mall, mut offered: Offered) -> anyhow::Result<Offered> {
    let mut problems: BTreeMap<String, String> = misdated(run.db, mall, &Dated::ARTICLES)
        .await?
        .into_iter()
        .map(|Misdated { key, problem }| (key, problem))
        .collect();
    for articles in offered.0.values_mut() {
        for article in articles.iter().filter(|article| !article.problems.is_empty()) {
            problems.insert(article.key.clone(), article.problems.to_string());
        }
        articles.retain(|article| article.problems.is_empty());
    }
    for (key, problem) in problems {
        let failure = Failure::bad_input(format!("the article `{key}` is left out: {problem}"));
        run.read(1);
        run.fail_item(&mall.code, "article", &failure.into());
    }
    Ok(offered)
}

async fn newest_articles(
    db: &mut Db,
    mall_id: i64,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
    locale: Locale,
    is_free: bool,
    most: i64,
) -> anyhow::Result<Vec<Article>> {
    // In lower case both databases compare `ja-jp-` with `ja-%` in the same way.
    let sql = format!(
        "SELECT id, title, {} AS summary, url, article_key AS key FROM articles
         WHERE mall_id = $1 AND published_at >= $2 AND published_at <= $3 AND {} {}
           AND (locale IS NULL OR LOWER(REPLACE(locale, '_', '-')) || '-' LIKE $4)
         ORDER BY published_at DESC, id DESC LIMIT $5",
        if is_free { "free_summary" } else { "summary" },
        db.is_time("published_at"),
        if is_free { "AND free_summary IS NOT NULL" } else { "" },
    );
    Ok(db.fetch_all(&sql, values![mall_id, from, now, format!("{}-%", locale.tag()), most]).await?)
}

// ---------------------------------------------------------------- the steps

/// Queues the digests of a mall, page by page of its members.
async fn send_to_mall(
    run: &mut Run<'_>,
    texts: &Texts,
    mall: &Mall,
    offered: &Offered,
) -> anyhow::Result<Queued> {
    let mut total = Queued::default();
    let ids: Vec<i64> = offered.ids().into_iter().collect();
    if ids.is_empty() {
        return Ok(total);
    }
    let by_silence = assumes_consent(&run.cx.config);
    let mut after = StoredKey::first();
    loop {
        run.check_stop()?;
        let mut page = next_page(run.db, mall.id, &after, by_silence).await?;
        let Some(last) = page.last() else { return Ok(total) };
        after.clone_from(&last.position);
        run.read(page.len() as u64);
        for reader in &mut page {
            reader.mall_code.clone_from(&mall.code);
        }
        let had = delivered(run.db, &page, &ids).await?;
        // Members who have received everything need no further checks.
        let cx = run.cx;
        page.retain(|reader| !reader.news(cx, offered, &had).is_empty());
        let readers = run.reachable(page, Purpose::Advertising).await?;
        if readers.is_empty() {
            continue;
        }
        let queued = run
            .chunk(None::<&str>, async |db| send(db, cx, texts, mall, offered, &had, &readers).await)
            .await?;
        run.written(queued.to_subscribers + queued.to_free_members);
        total.to_subscribers += queued.to_subscribers;
        total.to_free_members += queued.to_free_members;
    }
}

bulk_row! {
    /// The ledger: an article that a member was sent.
    struct Delivery => "article_deliveries" {
        member_id: i64,
        article_id: i64,
        created_at: DateTime<Utc>,
    }
}

/// Writes the ledger and queues the mails: both or nothing.
async fn send(
    db: &mut Db,
    cx: &Context,
    texts: &Texts,
    mall: &Mall,
    offered: &Offered,
    had: &HashSet<(i64, i64)>,
    readers: &[(Reader, Mailbox)],
) -> anyhow::Result<Queued> {
    let now = cx.now();
    let mut ledger = Bulk::new(db);
    let (mut to_subscribers, mut to_free_members) = (Vec::new(), Vec::new());
    for (reader, mailbox) in readers {
        let articles = reader.news(cx, offered, had);
        for article in &articles {
            ledger.push(&Delivery { member_id: reader.id, article_id: article.id, created_at: now });
        }
        let mails = if reader.is_subscriber { &mut to_subscribers } else { &mut to_free_members };
        mails.push(mail(cx, texts, mall, reader, mailbox, &articles, now).await?);
    }
    db.load(&mut ledger).await?;
    Ok(Queued {
        to_subscribers: enqueue_many(db, &to_subscribers, now).await?,
        to_free_members: enqueue_many(db, &to_free_members, now).await?,
    })
}

async fn mail(
    cx: &Context,
    texts: &Texts,
    mall: &Mall,
    reader: &Reader,
    mailbox: &Mailbox,
    articles: &[&Article],
    now: DateTime<Utc>,
) -> anyhow::Result<NewMail> {
    let listed: Vec<Json> = articles
        .iter()
        .map(|article| json!({ "title": article.title, "summary": article.summary, "url": article.url }))
        .collect();
    let data = json!({
        "member_name": reader.name,
        "is_free": !reader.is_subscriber,
        "articles": listed,
        "subscribe_url": cx.config.digest().subscribe_url,
        "unsubscribe_url": texts.unsubscribe.link(KIND, &address::normalised(mailbox)),
    });
    Ok(NewMail {
        rendered: texts.templates.render(KIND, reader.language(cx).tag(), data).await?,
        recipient: mailbox.email.to_string(),
        member: Some((mall.id, reader.member_code.clone())),
        priority: BULK,
        due_at: now,
        // The ledger knows what was sent, so a digest needs no key.
        dedup_key: None,
        attachments: Vec::new(),
    })
}

// ---------------------------------------------------------------- the readers

/// A member who reads.
#[derive(Debug, FromRow)]
struct Reader {
    id: i64,
    member_code: String,
    name: Option<String>,
    email: String,
    locale: Option<String>,
    is_subscriber: bool,
    position: StoredKey,
    #[row(problems)]
    problems: Problems,
    #[row(skip)]
    mall_code: String,
}

impl Reader {
    fn language(&self, cx: &Context) -> Locale {
        language(&cx.config, self.locale.as_deref(), None)
    }

    /// The articles that they have not received.
    fn news<'s>(&self, cx: &Context, offered: &'s Offered, had: &HashSet<(i64, i64)>) -> Vec<&'s Article> {
        let articles = offered.of(self.language(cx), !self.is_subscriber).iter();
        articles.filter(|article| !had.contains(&(self.id, article.id))).collect()
    }
}

impl Addressed for Reader {
    fn mall_code(&self) -> &str {
        &self.mall_code
    }

    fn key(&self) -> &str {
        &self.member_code
    }

    fn email(&self) -> &str {
        &self.email
    }

    fn problems(&self) -> &Problems {
        &self.problems
    }
}

/// The next members who may be sent digests.
async fn next_page(
    db: &mut Db,
    mall_id: i64,
    after: &StoredKey,
    assumes_consent: bool,
) -> anyhow::Result<Vec<Reader>> {
    // COUNT instead of EXISTS, for which PostgreSQL would build a hash of all subscriptions for each page.
    let sql = format!(
        "SELECT m.id, m.member_code, m.name, m.email, m.locale, m.member_code AS position,
                (SELECT COUNT(*) FROM subscriptions s
                 WHERE s.mall_id = m.mall_id AND s.member_code = m.member_code AND s.status = 'ACTIVE') > 0
                    AS is_subscriber
         FROM members m
         WHERE m.mall_id = $1 AND m.member_code > {} AND {ACTIVE_MEMBER} AND {}
         ORDER BY m.member_code LIMIT $4",
        db.stored_key("$2"),
        agrees_to("DIGEST", "$3")
    );
    Ok(db.fetch_all(&sql, values![mall_id, after, assumes_consent, PAGE]).await?)
}

/// Which of these articles the members of a page have received.
async fn delivered(db: &mut Db, page: &[Reader], articles: &[i64]) -> anyhow::Result<HashSet<(i64, i64)>> {
    let members: Vec<i64> = page.iter().map(|reader| reader.id).collect();
    let sql = format!(
        "SELECT member_id, article_id FROM article_deliveries
         WHERE member_id IN (SELECT CAST(value AS BIGINT) FROM {} AS readers)
           AND article_id IN (SELECT CAST(value AS BIGINT) FROM {} AS offered)",
        db.elements("$1"),
        db.elements("$2")
    );
    Ok(db.fetch_all(&sql, values![json!(members), json!(articles)]).await?.into_iter().collect())
}
