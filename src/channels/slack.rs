//! Slack's incoming webhook: one POST of `text` and `blocks`; the URL is the credential and is bound to a channel.
//! Success is 200 with the plain body `ok`; errors are plain text with another status.

use serde_json::{Value, json};

use super::message::{Link, Message, share_out};
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, Terms, retry_after};
use crate::context::Context;
use crate::digest::fingerprint;
use crate::printable::shortened;

/// Slack's limit for the text of one section block.
const SECTION_CHARACTERS: usize = 3000;
/// Slack's limit for a header block.
const HEADER_CHARACTERS: usize = 150;
/// Slack accepts one message a second indefinitely, and short bursts.
const BURST: u32 = 10;

/// A channel of Slack.
pub(super) struct Slack {
    api: Api,
    mention: Option<String>,
}

impl Slack {
    /// The channel of this webhook.
    pub(super) fn new(cx: &Context, url: &str, mention: Option<&str>) -> Result<Self, Fault> {
        let terms = Terms { burst: BURST, ..terms("Slack", retry_after) };
        Ok(Self {
            api: Api::new(cx, Address::service_webhook(url)?, terms)?,
            mention: mention.map(str::to_owned),
        })
    }

    async fn post(&self, body: Value) -> Result<(), Fault> {
        // A proxy's page, or another service behind the URL: not delivered, whatever the status is.
        let is_ok = |text: String| text.trim() == "ok";
        let call = Call::post_json("", &body);
        let posted = self.api.tell(call, |answer| {
            is_ok(answer.text()).then_some(()).ok_or_else(|| "the answer was not Slack's `ok`".to_owned())
        });
        Ok(posted.await?)
    }
}

impl Poster for Slack {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let bodies = bodies(message, self.mention.as_deref());
        Ok(bodies.into_iter().map(|body| Part::new(fingerprint(body.to_string()), self.post(body))).collect())
    }
}

/// The requests of a message: one, or as many as its lines need.
fn bodies(message: &Message, mention: Option<&str>) -> Vec<Value> {
    let mention = mention.filter(|_| message.mentions).map(|mention| format!("{mention} "));
    let mention = mention.unwrap_or_default();
    let budget = SECTION_CHARACTERS.saturating_sub(mention.chars().count());
    let shares = share_out(&message.text(), budget, |line| escape(line).chars().count() + "\n".len());
    let parts = shares.len();
    let body = |(index, lines): (usize, Vec<String>)| {
        let (number, is_first) = (index + 1, index == 0);
        let mention = if is_first { mention.as_str() } else { "" };
        let link = message.link.as_ref().filter(|_| number == parts);
        let header = message.title_of(number, parts, HEADER_CHARACTERS);
        let title = escape(&message.title_of(number, parts, SECTION_CHARACTERS));
        let lines = lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("\n");
        let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": header } })];
        // Slack refuses a section without a text.
        let texts = [format!("{mention}{lines}"), link.map(linked).unwrap_or_default()];
        let texts = texts.iter().filter(|text| !text.is_empty());
        blocks.extend(
            texts.map(|text| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })),
        );
        json!({
            // What notifications and screen readers show.
            "text": shortened(&format!("{mention}{title}"), SECTION_CHARACTERS),
            "blocks": blocks,
            "unfurl_links": false,
        })
    };
    shares.into_iter().enumerate().map(body).collect()
}

/// A link in mrkdwn. A pipe would end the address.
fn linked(link: &Link) -> String {
    format!("<{}|{}>", escape(link.url.as_str()).replace('|', "%7C"), escape(&link.label))
}

/// The three characters of mrkdwn that need it; this also defuses a mention inside somebody's data.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    fn section(body: &Value) -> &str {
        body["blocks"][1]["text"]["text"].as_str().unwrap()
    }

    #[test]
    fn data_cannot_mention_anyone_and_the_configured_mention_can() {
        let message = message("failed <!channel>", vec!["mall <!here> & co".into()]);
        let [body] = bodies(&message, Some("<!subteam^S1>")).try_into().unwrap();
        assert_eq!(body["text"], "<!subteam^S1> failed &lt;!channel&gt;");
        assert_eq!(section(&body), "<!subteam^S1> mall &lt;!here&gt; &amp; co");
        let quiet = Message { mentions: false, ..message };
        assert_eq!(bodies(&quiet, Some("<!subteam^S1>"))[0]["text"], "failed &lt;!channel&gt;");
    }

    #[test]
    fn a_long_text_becomes_several_messages_inside_slacks_limits_and_whole() {
        let long: Vec<String> = (0..300).map(|number| format!("{number} {}", "<長&".repeat(20))).collect();
        let bodies = bodies(&message(&"題".repeat(400), long.clone()), Some("<!here>"));
        assert!(bodies.len() > 3);
        let mut lines = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            let header = body["blocks"][0]["text"]["text"].as_str().unwrap();
            assert_eq!(header.chars().count(), HEADER_CHARACTERS);
            assert!(header.ends_with(&format!("({}/{})", index + 1, bodies.len())), "{header}");
            assert!(section(body).chars().count() <= SECTION_CHARACTERS);
            let text = section(body).strip_prefix("<!here> ");
            assert_eq!(text.is_some(), index == 0, "called once");
            lines.extend(text.unwrap_or(section(body)).lines().map(str::to_owned));
        }
        assert_eq!(lines, long.iter().map(|line| escape(line)).collect::<Vec<_>>());
        let bodies = super::bodies(&message("t", vec!["x".repeat(9000)]), None);
        assert_eq!(bodies.iter().map(section).collect::<String>(), "x".repeat(9000));
    }

    #[test]
    fn fields_and_a_link_stand_below_the_text_and_nothing_is_left_empty() {
        let link = Link { label: "the <report>".to_owned(), url: "https://a.jp/x?a=1&b=|".parse().unwrap() };
        let full = Message {
            fields: vec![("net".to_owned(), "1 < 2".to_owned())],
            link: Some(link),
            ..message("sales", vec!["fine".to_owned()])
        };
        let [body] = bodies(&full, None).try_into().unwrap();
        assert_eq!(section(&body), "fine\nnet: 1 &lt; 2");
        let link = &body["blocks"][2]["text"]["text"];
        assert_eq!(link, "<https://a.jp/x?a=1&amp;b=%7C|the &lt;report&gt;>");
        let [body] = bodies(&message("sales", Vec::new()), None).try_into().unwrap();
        assert_eq!(body["blocks"].as_array().map(Vec::len), Some(1));
    }
}
