//! Google Chat's incoming webhook: one POST of `text`; the URL is the credential and is bound to a space. All parts of a
//! message stand in one thread.

use serde_json::{Value, json};
use url::Url;

use super::message::{Message, share_out};
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, Terms, retry_after};
use crate::context::Context;
use crate::digest::fingerprint;
use crate::failure::Failure;

/// The most bytes of a message. The limit is 32,000.
const MAX_BYTES: usize = 30_000;
/// A longer title is cut.
const TITLE_CHARACTERS: usize = 200;
/// The most characters of a thread's key.
const THREAD_CHARACTERS: usize = 4000;
/// A space takes one message a second from all its webhooks together: a little less, since this is not the only one.
const CALLS_PER_SECOND: f64 = 0.9;
/// What keeps a message in its thread: without it the key is ignored.
const IN_THREAD: (&str, &str) = ("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD");

/// A space of Google Chat.
pub(super) struct GoogleChat {
    api: Api,
    mention: Option<String>,
}

/// What is wrong with the URL of a webhook, if anything. It is never shown.
pub(super) fn problem(url: &str) -> Option<&'static str> {
    if url.contains("&amp;") {
        return Some("contains `&amp;`: it was copied from HTML; write `&`");
    }
    let url = Url::parse(url).ok()?;
    let has = |name: &str| url.query_pairs().any(|(key, value)| key == name && !value.is_empty());
    (!has("key") || !has("token"))
        .then_some("is not the whole URL of a webhook, which has `key` and `token`: copy it again")
}

impl GoogleChat {
    /// The space of this webhook.
    pub(super) fn new(cx: &Context, url: &str, mention: Option<&str>) -> Result<Self, Fault> {
        if let Some(problem) = problem(url) {
            return Err(Fault::lasting(format!("the URL {problem}")));
        }
        let mut webhook =
            Url::parse(url.trim()).map_err(|_| Failure::configuration("the URL is not valid"))?;
        webhook.query_pairs_mut().append_pair(IN_THREAD.0, IN_THREAD.1);
        let terms = Terms { calls_per_second: CALLS_PER_SECOND, ..terms("Google Chat", retry_after) };
        Ok(Self {
            api: Api::new(cx, Address::service_webhook(webhook.as_str())?, terms)?,
            mention: mention.map(str::to_owned),
        })
    }

    async fn post(&self, body: Value) -> Result<(), Fault> {
        let posted = self.api.tell(Call::post_json("", &body), |answer| {
            let name = answer.json().and_then(|answer| answer["name"].as_str().map(str::to_owned));
            name.filter(|name| name.starts_with("spaces/"))
                .map(drop)
                .ok_or_else(|| format!("the answer did not come from Google Chat: {}", answer.quoted()))
        });
        Ok(posted.await?)
    }
}

impl Poster for GoogleChat {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let bodies = bodies(message, self.mention.as_deref());
        Ok(bodies.into_iter().map(|body| Part::new(fingerprint(body.to_string()), self.post(body))).collect())
    }
}

/// The requests of a message: one, or as many as its lines need.
fn bodies(message: &Message, mention: Option<&str>) -> Vec<Value> {
    let mention = mention.filter(|_| message.mentions).map(|who| format!("<users/{who}> "));
    let mention = mention.unwrap_or_default();
    let link = message.link.as_ref().map(|link| {
        let url = link.url.as_str().replace('|', "%7C").replace('>', "%3E");
        format!("\n<{url}|{}>", plain(&link.label).replace('>', "›"))
    });
    let link = link.unwrap_or_default();
    let lines: Vec<String> = message.text().iter().map(|line| preformatted(line)).collect();
    let heading = Message { title: plain(&message.title), ..message.clone() };
    // A character has up to four bytes, and a quote or a line break is escaped in JSON.
    let around = mention.len() + link.len() + 4 * TITLE_CHARACTERS + message.id.len() + 200;
    let shares = share_out(&lines, MAX_BYTES.saturating_sub(around), |line| {
        json!(line).to_string().len() + "\\n".len()
    });
    let parts = shares.len();
    let body = |(index, lines): (usize, Vec<String>)| {
        let number = index + 1;
        let mention = if index == 0 { mention.as_str() } else { "" };
        let link = if number == parts { link.as_str() } else { "" };
        let title = heading.title_of(number, parts, TITLE_CHARACTERS);
        let lines = lines.join("\n");
        // Within a block nothing is markup, and a path with underscores stays one.
        let block = if lines.is_empty() { String::new() } else { format!("\n```\n{lines}\n```") };
        json!({
            "text": format!("{mention}*{title}*{block}{link}"),
            "thread": { "threadKey": message.id.chars().take(THREAD_CHARACTERS).collect::<String>() },
        })
    };
    shares.into_iter().enumerate().map(body).collect()
}

/// A text outside a block, in which no character is markup. There is no escape: other characters of the same look stand
/// in.
fn plain(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| match character {
            '*' => '∗',
            '~' => '∼',
            '`' => 'ˋ',
            '_' => '＿',
            other => other,
        })
        .collect();
    text.replace('<', "<\u{200b}")
}

/// A line within a block. Nothing ends the block, and a mention would call somebody even there.
fn preformatted(line: &str) -> String {
    line.replace("```", "`\u{200b}`\u{200b}`").replace("<users/", "<\u{200b}users/")
}

#[cfg(test)]
mod tests {
    use super::super::message::Link;
    use super::super::message::tests::message;
    use super::*;

    #[test]
    fn data_is_neither_markup_nor_a_mention_and_the_configured_mention_is() {
        let link = Link { label: "the <report>".to_owned(), url: "https://a.jp/x?a=1|2".parse().unwrap() };
        let lines = vec!["mall <users/all> *x* ``` _y_".to_owned(), "a_b".to_owned()];
        let data = Message { link: Some(link), ..message("a *job* <users/all> FAILED", lines) };
        let [body] = bodies(&data, Some("all")).try_into().unwrap();
        assert_eq!(
            body,
            json!({
                "text": "<users/all> *a ∗job∗ <\u{200b}users/all> FAILED*\n```\nmall <\u{200b}users/all> *x* \
                         `\u{200b}`\u{200b}` _y_\na_b\n```\n<https://a.jp/x?a=1%7C2|the <\u{200b}report›>",
                "thread": { "threadKey": "test.1" },
            })
        );
        let quiet = Message { mentions: false, lines: Vec::new(), link: None, ..data };
        assert_eq!(bodies(&quiet, Some("all"))[0]["text"], "*a ∗job∗ <\u{200b}users/all> FAILED*");
    }

    #[test]
    fn a_long_text_becomes_several_messages_of_one_thread_below_the_limit_in_order_and_whole() {
        let long: Vec<String> = (0..900).map(|number| format!("{number} {}", "長\"𠮷".repeat(20))).collect();
        let bodies = bodies(&message(&"題".repeat(400), long.clone()), Some("123"));
        assert!(bodies.len() > 3);
        let mut lines = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            assert!(body.to_string().len() <= 32_000, "{}", body.to_string().len());
            let text = body["text"].as_str().unwrap();
            let (title, rest) = text.split_once("\n```\n").unwrap();
            assert!(title.ends_with(&format!("({}/{})*", index + 1, bodies.len())), "{title}");
            assert_eq!(title.starts_with("<users/123> "), index == 0, "called once");
            lines.extend(rest.strip_suffix("\n```").unwrap().lines().map(str::to_owned));
            assert_eq!(body["thread"], bodies[0]["thread"]);
        }
        assert!(lines == long);
    }

    #[test]
    fn a_url_that_is_not_the_whole_of_it_is_known() {
        let whole = "https://chat.googleapis.com/v1/spaces/AAA/messages?key=hunter22&token=hunter23";
        assert_eq!(problem(whole), None);
        assert!(problem(&whole.replace('&', "&amp;")).unwrap().contains("copied from HTML"));
        assert!(problem("https://chat.googleapis.com/v1/spaces/AAA/messages?key=hunter22").is_some());
        assert!(problem("https://chat.googleapis.com/v1/spaces/AAA/messages?key=&token=x").is_some());
    }
}
