//! Chatwork, API v2: messages to a room, under the name of whoever owns the token. There is no idempotency key.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};

use super::message::{Message, share_out};
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, Pause, http_date, retry_after};
use crate::config::{AlertChannel, ChatworkTarget};
use crate::context::Context;
use crate::digest::fingerprint;
use crate::mask::Secret;

/// Where the API is.
const API_ENDPOINT: &str = "https://api.chatwork.com";
/// The header of the token.
const TOKEN: HeaderName = HeaderName::from_static("x-chatworktoken");
/// The longest text. The limit is 65,535, of characters or bytes: nobody says which, and a character has up to four bytes.
const TEXT_CHARACTERS: usize = 16_000;
/// A longer title is cut.
const TITLE_CHARACTERS: usize = 200;
/// A room takes ten messages in ten seconds, from all senders.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// A room of Chatwork.
pub(super) struct Chatwork {
    api: Api,
    token: Secret,
    mention: Option<String>,
}

impl Chatwork {
    /// The room of a channel's configuration.
    pub(super) fn new(
        cx: &Context,
        channel: &AlertChannel,
        target: ChatworkTarget<'_>,
    ) -> Result<Self, Fault> {
        let token = cx.config.secret(target.token_variable).map_err(|error| Fault::unset(&error))?;
        let address = Address::new("api_endpoint", channel.api_endpoint.as_deref().unwrap_or(API_ENDPOINT))?;
        let address = address.below(&["v2", "rooms", target.room_id, "messages"]);
        Ok(Self {
            api: Api::new(cx, address, terms("Chatwork", rule))?,
            token: Secret::new(token),
            mention: channel.mention.clone(),
        })
    }

    async fn post(&self, text: String) -> Result<(), Fault> {
        let mut token = HeaderValue::from_str(self.token.expose())
            .map_err(|_| Fault::lasting("the token is not a valid header value".to_owned()))?;
        token.set_sensitive(true);
        let call = Call::post("", &[("body", &text), ("self_unread", "1")])
            .headers(HeaderMap::from_iter([(TOKEN, token)]))
            .secret(&self.token);
        let posted = self.api.tell(call, |answer| {
            // A proxy's page, or another service behind the address: not delivered, whatever the status is.
            let id = answer.json().filter(|_| answer.status == StatusCode::OK);
            let id = id.and_then(|answer| answer["message_id"].as_str().map(str::to_owned));
            id.map(drop).ok_or_else(|| format!("the answer did not come from Chatwork: {}", answer.quoted()))
        });
        Ok(posted.await?)
    }
}

impl Poster for Chatwork {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let texts = texts(message, self.mention.as_deref());
        Ok(texts.into_iter().map(|text| Part::new(fingerprint(&text), self.post(text))).collect())
    }
}

/// Chatwork says when its five minutes are over, in seconds since 1970 by its own clock; a room's ten seconds it does not.
fn rule(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Pause> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return retry_after(status, headers, now);
    }
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<i64>().ok();
    let clock = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?)).unwrap_or(now);
    let is_spent = number("x-ratelimit-remaining") == Some(0);
    let until_reset = number("x-ratelimit-reset").map(|reset| reset.saturating_sub(clock.timestamp()));
    let wait = until_reset
        .filter(|_| is_spent)
        .map_or(ROOM_WAIT, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    Some(Pause { wait, reason: "its rate limit is reached".to_owned(), is_block: false })
}

/// The texts of a message: one, or as many as its lines need.
fn texts(message: &Message, mention: Option<&str>) -> Vec<String> {
    let mention = mention.filter(|_| message.mentions).map(|who| match who {
        "all" => "[toall]\n".to_owned(),
        id => format!("[To:{id}]\n"),
    });
    let mention = mention.unwrap_or_default();
    let mut lines: Vec<String> = message.text().iter().map(|line| defused(line)).collect();
    let link = message.link.as_ref();
    lines.extend(
        link.map(|link| format!("{}: {}", defused(&link.label), link.url.as_str().replace('[', "%5B"))),
    );
    let title = Message { title: defused(&message.title), ..message.clone() };
    let budget = TEXT_CHARACTERS.saturating_sub(mention.chars().count() + 2 * TITLE_CHARACTERS);
    let shares = share_out(&lines, budget, |line| line.chars().count() + "\n".len());
    let parts = shares.len();
    let text = |(index, lines): (usize, Vec<String>)| {
        let mention = if index == 0 { mention.as_str() } else { "" };
        let title = title.title_of(index + 1, parts, TITLE_CHARACTERS);
        format!("{mention}[info][title]{title}[/title]{}[/info]", lines.join("\n"))
    };
    shares.into_iter().enumerate().map(text).collect()
}

/// Chatwork's notation has no escape: a tag in somebody's data, such as `[toall]`, would act.
fn defused(text: &str) -> String {
    text.replace('[', "［")
}

#[cfg(test)]
mod tests {
    use super::super::message::Link;
    use super::super::message::tests::message;
    use super::*;

    #[test]
    fn only_the_configured_mention_acts_and_data_is_no_notation() {
        let link = Link { label: "the [report]".to_owned(), url: "https://a.jp/x?a=[1]".parse().unwrap() };
        let data = Message {
            link: Some(link),
            ..message("a [toall] FAILED", vec!["[To:1] [/info][rp aid=1]".to_owned()])
        };
        assert_eq!(
            texts(&data, Some("123456")),
            ["[To:123456]\n[info][title]a ［toall] FAILED[/title]［To:1] ［/info]［rp aid=1]\n\
              the ［report]: https://a.jp/x?a=%5B1][/info]"]
        );
        assert!(texts(&data, Some("all"))[0].starts_with("[toall]\n[info]"));
        let quiet = Message { mentions: false, ..data };
        assert!(texts(&quiet, Some("all"))[0].starts_with("[info][title]"));
    }

    #[test]
    fn a_long_text_becomes_several_below_the_limit_in_order_and_whole() {
        let long: Vec<String> = (0..900).map(|number| format!("{number} {}", "𠮷野家".repeat(20))).collect();
        let texts = texts(&message(&"題".repeat(400), long.clone()), Some("all"));
        assert!(texts.len() > 2);
        let mut lines = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            assert!(text.chars().count() <= TEXT_CHARACTERS && text.len() <= 65_535, "{}", text.len());
            let (title, rest) = text.split_once("[/title]").unwrap();
            assert!(title.ends_with(&format!("({}/{})", index + 1, texts.len())), "{title}");
            assert_eq!(title.contains("[toall]"), index == 0, "called once");
            lines.extend(rest.strip_suffix("[/info]").unwrap().lines().map(str::to_owned));
        }
        assert!(lines == long);
    }

    #[test]
    fn a_wait_ends_with_the_five_minutes_by_its_own_clock_or_after_a_rooms_ten_seconds() {
        let wait = |status: u16, headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            rule(StatusCode::from_u16(status).unwrap(), &headers.collect(), DateTime::UNIX_EPOCH)
                .map(|pause| pause.wait.as_secs())
        };
        let (reset, date) = (("x-ratelimit-reset", "1735689720"), ("date", "Wed, 01 Jan 2025 00:00:00 GMT"));
        assert_eq!(wait(429, &[("x-ratelimit-remaining", "0"), reset, date]), Some(120));
        assert_eq!(wait(429, &[("x-ratelimit-remaining", "7"), reset, date]), Some(10));
        assert_eq!(wait(429, &[]), Some(10));
        assert_eq!(wait(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "-5")]), Some(0));
        assert_eq!(wait(200, &[("x-ratelimit-remaining", "0"), reset, date]), None);
        assert_eq!(wait(503, &[("retry-after", "7")]), Some(7));
    }
}
