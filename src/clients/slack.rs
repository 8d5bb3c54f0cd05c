//! Slack's incoming webhook: one POST of `text` and `blocks`; the URL is the credential and is bound to a channel.
//! Success is 200 with the plain body `ok`; errors are plain text with another status.

use serde_json::{Value, json};

use super::chat::{Message, shorten};
use super::http::DeliveryError;

/// Slack's limit for the text of one section block.
const SECTION_CHARACTERS: usize = 3000;
/// Slack's limit for a header block.
const HEADER_CHARACTERS: usize = 150;

/// Posts a message.
pub async fn post(client: &reqwest::Client, url: &str, message: &Message) -> Result<(), DeliveryError> {
    let response = client.post(url).json(&body(message)).send().await.map_err(DeliveryError::unanswered)?;
    if !response.status().is_success() {
        return Err(DeliveryError::refused(response).await);
    }
    let answer = response.text().await.map_err(DeliveryError::unanswered)?;
    if answer.trim() == "ok" {
        return Ok(());
    }
    // A proxy's page, or another service behind the URL: not delivered, whatever the status says.
    Err(DeliveryError {
        message: "the answer was not Slack's `ok`".to_owned(),
        is_permanent: true,
        retry_after: None,
    })
}

fn body(message: &Message) -> Value {
    let mention = message.mention.as_ref().map(|mention| format!("{mention} ")).unwrap_or_default();
    let lines = message.lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("\n");
    let section = shorten(&format!("{mention}{lines}"), SECTION_CHARACTERS);
    json!({
        // What notifications and screen readers show.
        "text": shorten(&format!("{mention}{}", escape(&message.title)), SECTION_CHARACTERS),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": shorten(&message.title, HEADER_CHARACTERS) } },
            { "type": "section", "text": { "type": "mrkdwn", "text": section } },
        ],
        "unfurl_links": false,
    })
}

/// The three characters of mrkdwn that need it; this also defuses a mention inside somebody's data.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_mention_anyone_and_the_configured_mention_can() {
        let message = Message {
            title: "failed <!channel>".into(),
            lines: vec!["mall <!here> & co".into()],
            mention: Some("<!subteam^S1>".into()),
        };
        let body = body(&message);
        assert_eq!(body["text"], "<!subteam^S1> failed &lt;!channel&gt;");
        assert_eq!(body["blocks"][1]["text"]["text"], "<!subteam^S1> mall &lt;!here&gt; &amp; co");
    }

    #[test]
    fn long_texts_stay_inside_slacks_limits() {
        let message = Message { title: "長".repeat(400), lines: vec!["x".repeat(9000)], mention: None };
        let body = body(&message);
        let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        assert_eq!(length(&body["blocks"][0]["text"]["text"]), HEADER_CHARACTERS);
        assert_eq!(length(&body["blocks"][1]["text"]["text"]), SECTION_CHARACTERS);
    }
}
