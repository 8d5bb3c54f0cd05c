//! Microsoft Teams, by a workflow with the trigger "When a Teams webhook request is received": one POST of an
//! adaptive card; the URL is the credential. 202 means that the flow was started, not that the card was posted:
//! what goes wrong after that is visible only in the flow's run history.

use serde_json::{Value, json};

use super::message::{Link, Message, share_out};
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, retry_after};
use crate::context::Context;
use crate::digest::fingerprint;

/// The largest request that is sure to be accepted: the limit is about 28 KB, including what the flow adds to it.
#[cfg(test)]
const MAX_BYTES: usize = 21 * 1024;
/// How much of it the lines of one card may use; the rest is for the title and the envelope.
const LINES_BYTES: usize = 17 * 1024;
/// A longer title is cut.
const TITLE_CHARACTERS: usize = 200;

/// The old connectors' host: retired by Microsoft, and for a while it answered 200 to what it dropped.
const RETIRED_HOST: &str = "webhook.office.com";

/// Whether a URL is one of the connectors that Microsoft has retired.
pub(super) fn is_retired(url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    host == RETIRED_HOST || host.strip_suffix(RETIRED_HOST).is_some_and(|rest| rest.ends_with('.'))
}

/// A channel of Teams.
pub(super) struct Teams {
    api: Api,
    mention: Option<String>,
}

impl Teams {
    /// The channel of this workflow.
    pub(super) fn new(cx: &Context, url: &str, mention: Option<&str>) -> Result<Self, Fault> {
        if is_retired(url) {
            return Err(Fault::lasting(format!(
                "the URL belongs to an Office 365 connector (`{RETIRED_HOST}`), which Microsoft has retired: make a \
                 workflow with the trigger `When a Teams webhook request is received` and use its URL"
            )));
        }
        let api = Api::new(cx, Address::service_webhook(url)?, terms("Teams", retry_after))?;
        Ok(Self { api, mention: mention.map(str::to_owned) })
    }

    async fn post(&self, card: Value) -> Result<(), Fault> {
        let posted = self.api.tell(Call::post_json("", &card), |answer| {
            // 202 from the flow itself, 200 from a gateway in front of it or from a flow with its own response.
            if matches!(answer.status.as_u16(), 200 | 202) {
                return Ok(());
            }
            Err(format!("the answer did not come from a Teams workflow: {}", answer.quoted()))
        });
        Ok(posted.await?)
    }
}

impl Poster for Teams {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let cards = cards(message, self.mention.as_deref());
        Ok(cards.into_iter().map(|card| Part::new(fingerprint(card.to_string()), self.post(card))).collect())
    }
}

/// The cards of a message: one, or as many as its lines need.
fn cards(message: &Message, mention: Option<&str>) -> Vec<Value> {
    let bytes = |line: &str| block(line).to_string().len() + ",".len();
    let shares = share_out(&message.text(), LINES_BYTES, bytes);
    let parts = shares.len();
    let card = |(index, lines): (usize, Vec<String>)| {
        let number = index + 1;
        let title = message.title_of(number, parts, TITLE_CHARACTERS);
        let mut card = card(&title, &lines, mention.filter(|_| message.mentions && index == 0));
        if let Some(Link { label, url }) = message.link.as_ref().filter(|_| number == parts) {
            card["attachments"][0]["content"]["actions"] =
                json!([{ "type": "Action.OpenUrl", "title": label, "url": url.as_str() }]);
        }
        card
    };
    shares.into_iter().enumerate().map(card).collect()
}

fn card(title: &str, lines: &[String], mention: Option<&str>) -> Value {
    let mut headline = block(title);
    headline["inlines"][0]["weight"] = json!("Bolder");
    headline["inlines"][0]["size"] = json!("Medium");
    let mut body = vec![headline];
    let mut teams = json!({ "width": "Full" });
    if let Some((id, name)) = mention.map(mentioned) {
        let text = format!("<at>{name}</at>");
        body.push(json!({ "type": "TextBlock", "text": text, "wrap": true }));
        teams["entities"] =
            json!([{ "type": "mention", "text": text, "mentioned": { "id": id, "name": name } }]);
    }
    body.extend(lines.iter().map(|line| block(line)));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "fallbackText": title,
                "msteams": teams,
                "body": body,
            },
        }],
    })
}

/// A line as it is: a `TextBlock` would interpret Markdown in it, and turn data into a link or a mention.
fn block(line: &str) -> Value {
    json!({ "type": "RichTextBlock", "spacing": "None", "inlines": [{ "type": "TextRun", "text": line }] })
}

/// Id and name of `Kim <kim@example.com>`, or of a bare id. The name goes inside a tag.
fn mentioned(mention: &str) -> (&str, String) {
    let (name, id) = match mention.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, id)) if !name.trim().is_empty() => (name.trim(), id),
        Some((_, id)) => (id, id),
        None => (mention, mention),
    };
    (id, name.replace(['<', '>', '&'], ""))
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    const KIM: Option<&str> = Some("Kim <kim@example.com>");

    /// The lines of a card below its headline.
    fn lines(card: &Value) -> Vec<String> {
        let body = card["attachments"][0]["content"]["body"].as_array().unwrap();
        let text = |block: &Value| block["inlines"][0]["text"].as_str().map(str::to_owned);
        body.iter().skip(1).filter_map(text).collect()
    }

    #[test]
    fn a_mention_is_in_the_text_and_among_the_entities_and_data_is_no_markup() {
        let message = message("a job FAILED", vec!["[mall](http://evil.jp) <at>Kim</at> *x*".to_owned()]);
        let [card] = cards(&message, KIM).try_into().unwrap();
        let content = &card["attachments"][0]["content"];
        assert_eq!(
            content["msteams"],
            json!({ "width": "Full", "entities": [
                { "type": "mention", "text": "<at>Kim</at>", "mentioned": { "id": "kim@example.com", "name": "Kim" } },
            ]})
        );
        assert_eq!(content["body"][0]["inlines"][0]["text"], "a job FAILED");
        assert_eq!(content["body"][1], json!({ "type": "TextBlock", "text": "<at>Kim</at>", "wrap": true }));
        assert_eq!(content["body"][2]["type"], "RichTextBlock");
        assert_eq!(lines(&card), ["[mall](http://evil.jp) <at>Kim</at> *x*"]);
        assert_eq!(mentioned("0f0e-11"), ("0f0e-11", "0f0e-11".to_owned()));
        assert_eq!(mentioned("A & B <ops@example.com>"), ("ops@example.com", "A  B".to_owned()));
    }

    #[test]
    fn a_long_text_becomes_several_cards_below_the_limit_in_order_and_whole() {
        let long: Vec<String> =
            (0..400).map(|number| format!("{number} {}", "長\"\u{1}".repeat(90))).collect();
        let cards = cards(&message(&"題\"\u{1}".repeat(400), long.clone()), KIM);
        assert!(cards.len() > 3);
        for (index, card) in cards.iter().enumerate() {
            assert!(card.to_string().len() <= MAX_BYTES, "{}", card.to_string().len());
            let content = &card["attachments"][0]["content"];
            let number = format!("({}/{})", index + 1, cards.len());
            assert!(content["fallbackText"].as_str().unwrap().ends_with(&number));
            assert_eq!(content["msteams"].get("entities").is_some(), index == 0, "called once");
        }
        assert_eq!(cards.iter().flat_map(lines).collect::<Vec<_>>(), long);
        let long = message("a job FAILED", vec!["x".repeat(30_000)]);
        let [one, two] = <[Value; 2]>::try_from(super::cards(&long, None)).unwrap();
        assert_eq!(lines(&one).concat() + &lines(&two).concat(), "x".repeat(30_000));
    }

    #[test]
    fn a_link_is_an_action_of_the_last_card() {
        let link = Link { label: "the report".to_owned(), url: "https://a.jp/x".parse().unwrap() };
        let long = Message { link: Some(link), ..message("sales", vec!["x".repeat(30_000)]) };
        let [one, two] = <[Value; 2]>::try_from(cards(&long, None)).unwrap();
        let action = |card: &Value| card["attachments"][0]["content"]["actions"][0].clone();
        assert_eq!(action(&one), Value::Null);
        assert_eq!(
            action(&two),
            json!({ "type": "Action.OpenUrl", "title": "the report", "url": "https://a.jp/x" })
        );
    }

    #[test]
    fn the_urls_of_retired_connectors_are_known() {
        assert!(is_retired("https://contoso.webhook.office.com/webhookb2/x"));
        assert!(is_retired("https://webhook.office.com/x"));
        assert!(!is_retired("https://prod-1.japaneast.logic.azure.com/workflows/x?u=webhook.office.com"));
        assert!(!is_retired("https://evilwebhook.office.com.example.jp/"));
    }
}
