//! `[[alerts.channel]]` of `batchctl.toml`: where alerts are posted, and what each kind of channel needs.

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{Place, is_variable_name};
use crate::address;

/// A channel to which alerts are posted. Each kind has its own keys; [`AlertChannel::target`] interprets them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertChannel {
    /// The name that routes use.
    pub name: String,
    /// How to post to it.
    pub kind: ChannelKind,
    /// Slack, Teams, Google Chat, webhook: the variable that holds its URL; the URL is a secret.
    pub url_variable: Option<String>,
    /// Who is mentioned by high and critical alerts, in the service's own form: `<!subteam^S123>` (Slack), `Kim
    /// <kim@example.com>` (Teams), or a user's id or `all` (LINE WORKS, Chatwork, Google Chat).
    pub mention: Option<String>,
    /// Chatwork: the variable of the API token.
    pub token_variable: Option<String>,
    /// Chatwork: the room's number, as in its address `#!rid123456`.
    pub room_id: Option<String>,
    /// LINE WORKS: the variable of the app's client id.
    pub client_id_variable: Option<String>,
    /// LINE WORKS: the variable of the app's client secret.
    pub client_secret_variable: Option<String>,
    /// LINE WORKS: the service account's id, such as `abcde.serviceaccount@example`.
    pub service_account: Option<String>,
    /// LINE WORKS: the variable that holds the app's private key as PEM, or the name of the file that does.
    pub private_key_variable: Option<String>,
    /// LINE WORKS: the bot's number.
    pub bot_id: Option<String>,
    /// LINE WORKS: the talk room to write to.
    pub channel_id: Option<String>,
    /// LINE WORKS: the single user to write to, instead of a room.
    pub user_id: Option<String>,
    /// LINE WORKS: an address for tokens other than `https://auth.worksmobile.com`.
    pub auth_endpoint: Option<String>,
    /// LINE WORKS, Chatwork: an address for messages other than `https://www.worksapis.com` or
    /// `https://api.chatwork.com`.
    pub api_endpoint: Option<String>,
    /// Mail: the recipients.
    pub to: Option<Vec<String>>,
}

/// The kinds of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A Slack incoming webhook.
    Slack,
    /// A Teams workflow with the trigger "When a Teams webhook request is received".
    Teams,
    /// A LINE WORKS bot.
    LineWorks,
    /// A room of Chatwork.
    Chatwork,
    /// An incoming webhook of a Google Chat space.
    GoogleChat,
    /// A mail, sent at once and not through the queue.
    Mail,
    /// A JSON document posted to any URL.
    Webhook,
}

/// A channel's settings, by its kind.
#[derive(Debug, Clone, Copy)]
pub enum ChannelTarget<'a> {
    /// A Slack incoming webhook, whose URL this variable holds.
    Slack(&'a str),
    /// A Teams workflow, whose URL this variable holds.
    Teams(&'a str),
    /// A LINE WORKS bot.
    LineWorks(LineWorksTarget<'a>),
    /// A room of Chatwork.
    Chatwork(ChatworkTarget<'a>),
    /// A space of Google Chat, whose webhook's URL this variable holds.
    GoogleChat(&'a str),
    /// These recipients.
    Mail(&'a [String]),
    /// Any URL, which this variable holds.
    Webhook(&'a str),
}

/// A LINE WORKS bot, and where it writes.
#[derive(Debug, Clone, Copy)]
pub struct LineWorksTarget<'a> {
    /// The variable of the app's client id.
    pub client_id_variable: &'a str,
    /// The variable of the app's client secret.
    pub client_secret_variable: &'a str,
    /// The service account's id.
    pub service_account: &'a str,
    /// The variable that holds the app's private key, or the name of its file.
    pub private_key_variable: &'a str,
    /// The bot's number.
    pub bot_id: &'a str,
    /// A talk room, or a user.
    pub reader: LineWorksReader<'a>,
}

/// A room of Chatwork, and who writes there.
#[derive(Debug, Clone, Copy)]
pub struct ChatworkTarget<'a> {
    /// The variable of the API token.
    pub token_variable: &'a str,
    /// The room's number.
    pub room_id: &'a str,
}

/// Who reads what a LINE WORKS bot writes.
#[derive(Debug, Clone, Copy)]
pub enum LineWorksReader<'a> {
    /// A talk room.
    Channel(&'a str),
    /// One user.
    User(&'a str),
}

/// The keys that not every kind has, in the order in which they are asked for.
const KEYS: [&str; 14] = [
    "url_variable",
    "mention",
    "token_variable",
    "room_id",
    "client_id_variable",
    "client_secret_variable",
    "service_account",
    "private_key_variable",
    "bot_id",
    "channel_id",
    "user_id",
    "auth_endpoint",
    "api_endpoint",
    "to",
];

impl ChannelKind {
    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::LineWorks => "line_works",
            Self::Chatwork => "chatwork",
            Self::GoogleChat => "google_chat",
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }

    /// Whether a channel of this kind may have this key.
    fn has(self, key: &str) -> bool {
        match self {
            Self::Slack | Self::Teams | Self::GoogleChat => matches!(key, "url_variable" | "mention"),
            Self::LineWorks => !matches!(key, "url_variable" | "token_variable" | "room_id" | "to"),
            Self::Chatwork => matches!(key, "token_variable" | "room_id" | "mention" | "api_endpoint"),
            Self::Mail => key == "to",
            Self::Webhook => key == "url_variable",
        }
    }
}

impl AlertChannel {
    /// Its settings, or the key that is missing.
    pub fn target(&self) -> Result<ChannelTarget<'_>, &'static str> {
        let url_variable = || self.url_variable.as_deref().ok_or("url_variable");
        Ok(match self.kind {
            ChannelKind::Slack => ChannelTarget::Slack(url_variable()?),
            ChannelKind::Teams => ChannelTarget::Teams(url_variable()?),
            ChannelKind::Webhook => ChannelTarget::Webhook(url_variable()?),
            ChannelKind::GoogleChat => ChannelTarget::GoogleChat(url_variable()?),
            ChannelKind::Chatwork => ChannelTarget::Chatwork(ChatworkTarget {
                token_variable: self.token_variable.as_deref().ok_or("token_variable")?,
                room_id: self.room_id.as_deref().ok_or("room_id")?,
            }),
            ChannelKind::Mail => {
                ChannelTarget::Mail(self.to.as_deref().filter(|to| !to.is_empty()).ok_or("to")?)
            }
            ChannelKind::LineWorks => ChannelTarget::LineWorks(LineWorksTarget {
                client_id_variable: self.client_id_variable.as_deref().ok_or("client_id_variable")?,
                client_secret_variable: self
                    .client_secret_variable
                    .as_deref()
                    .ok_or("client_secret_variable")?,
                service_account: self.service_account.as_deref().ok_or("service_account")?,
                private_key_variable: self.private_key_variable.as_deref().ok_or("private_key_variable")?,
                bot_id: self.bot_id.as_deref().ok_or("bot_id")?,
                reader: match (&self.channel_id, &self.user_id) {
                    (Some(channel), _) => LineWorksReader::Channel(channel),
                    (None, Some(user)) => LineWorksReader::User(user),
                    (None, None) => return Err("channel_id"),
                },
            }),
        })
    }

    /// A key's text; `None` where it is not set.
    fn text(&self, key: &str) -> Option<&str> {
        let text = match key {
            "url_variable" => &self.url_variable,
            "mention" => &self.mention,
            "token_variable" => &self.token_variable,
            "room_id" => &self.room_id,
            "client_id_variable" => &self.client_id_variable,
            "client_secret_variable" => &self.client_secret_variable,
            "service_account" => &self.service_account,
            "private_key_variable" => &self.private_key_variable,
            "bot_id" => &self.bot_id,
            "channel_id" => &self.channel_id,
            "user_id" => &self.user_id,
            "auth_endpoint" => &self.auth_endpoint,
            "api_endpoint" => &self.api_endpoint,
            _ => return self.to.as_ref().map(|_| ""),
        };
        text.as_deref()
    }

    /// Every variable that it names, by its key.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = KEYS.into_iter().filter(|key| key.ends_with("_variable"));
        keys.filter_map(|key| Some((key, self.text(key)?)))
    }

    /// Refuses keys that its kind does not use, and missing ones that it needs. It is the `index`th of `[alerts]`.
    pub(super) fn check(&self, place: &Place<'_>, index: &str) -> Result<(), ConfigError> {
        let (name, kind) = (&self.name, self.kind.as_str());
        let error = |key: &str, problem: String| Err(place.error(&["channel", index, key], problem));
        if let Some(key) = KEYS.into_iter().find(|key| self.text(key).is_some() && !self.kind.has(key)) {
            return error(key, format!("`{key}` of alerts.channel `{name}` is not for the kind `{kind}`"));
        }
        for (key, variable) in self.variables() {
            let example = match (key, self.kind) {
                ("url_variable", ChannelKind::Teams) => "OPS_TEAMS_URL",
                ("url_variable", ChannelKind::GoogleChat) => "OPS_GOOGLE_CHAT_URL",
                ("url_variable", _) => "OPS_SLACK_URL",
                ("token_variable", _) => "CHATWORK_TOKEN",
                ("client_id_variable", _) => "LINE_WORKS_CLIENT_ID",
                ("client_secret_variable", _) => "LINE_WORKS_CLIENT_SECRET",
                _ => "LINE_WORKS_PRIVATE_KEY",
            };
            if variable.contains("://") {
                let problem = format!(
                    "`{key}` of alerts.channel `{name}` contains a URL: put the URL in a variable such as {example} \
                     and write that name here"
                );
                return error(key, problem);
            }
            if !is_variable_name(variable) {
                let problem = format!(
                    "`{key}` of alerts.channel `{name}` is not a variable's name: write one like {example}"
                );
                return error(key, problem);
            }
        }
        if let Err(key) = self.target() {
            let key = if key == "channel_id" { "channel_id` or `user_id" } else { key };
            let problem = format!("`alerts.channel` `{name}` of the kind `{kind}` needs `{key}`");
            return Err(place.error(&["channel", index], problem));
        }
        if self.channel_id.is_some() && self.user_id.is_some() {
            let problem =
                format!("alerts.channel `{name}` has a `channel_id` already: it writes to one of them");
            return error("user_id", problem);
        }
        let is_number = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(room) = self.room_id.as_deref().filter(|room| !is_number(room)) {
            let problem = format!(
                "`room_id` of alerts.channel `{name}`: `{room}` is not a room's number: write the digits after `rid` in \
                 the room's address"
            );
            return error("room_id", problem);
        }
        for (entry, recipient) in self.to.iter().flatten().enumerate() {
            if address::parse(recipient).is_err() {
                // Not shown: an address is personal, and a wrong paste may be anything.
                let problem = format!(
                    "`to` of alerts.channel `{name}`: number {} is not a mail address: write one like ops@example.jp",
                    entry + 1
                );
                return error("to", problem);
            }
        }
        if let Some(mention) = &self.mention
            && let Some(example) = self.better_mention(mention)
        {
            let problem =
                format!("`mention` of alerts.channel `{name}` mentions nobody on `{kind}`: write {example}");
            return error("mention", problem);
        }
        Ok(())
    }

    /// What to write instead of a mention that the kind does not support.
    fn better_mention(&self, mention: &str) -> Option<&'static str> {
        let is_word = |text: &str| {
            !text.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"&".contains(c))
        };
        match self.kind {
            ChannelKind::Teams => {
                let id = mention
                    .strip_suffix('>')
                    .and_then(|rest| rest.rsplit_once('<'))
                    .map_or(mention, |(_, id)| id);
                (!is_word(id)).then_some("Kim <kim@example.com>, or just the user's Entra object id")
            }
            ChannelKind::LineWorks => (!is_word(mention)).then_some("a user's id, or all"),
            ChannelKind::Chatwork | ChannelKind::GoogleChat => {
                let is_id = mention == "all" || mention.bytes().all(|byte| byte.is_ascii_digit());
                (mention.is_empty() || !is_id).then_some("the digits of a user's id, or all")
            }
            ChannelKind::Slack | ChannelKind::Mail | ChannelKind::Webhook => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::super::section::Section;

    const LINE_WORKS: &str = "[[alerts.channel]]
name = \"works\"
kind = \"line_works\"
client_id_variable = \"WORKS_ID\"
client_secret_variable = \"WORKS_SECRET\"
service_account = \"a.serviceaccount@example\"
private_key_variable = \"WORKS_KEY\"
bot_id = \"2000001\"
channel_id = \"room-1\"
";

    fn error(text: &str) -> String {
        let error = Sections::parse("batchctl.toml", text).unwrap_err().to_string();
        error.strip_prefix("batchctl.toml line ").unwrap().to_owned()
    }

    fn channel(kind: &str, rest: &str) -> String {
        format!("[[alerts.channel]]\nname = \"ops\"\nkind = \"{kind}\"\n{rest}")
    }

    #[test]
    fn each_kind_is_taken_with_what_it_needs() {
        for text in [
            channel("slack", "url_variable = \"A\"\nmention = \"<!here>\""),
            channel("webhook", "url_variable = \"A\""),
            channel("teams", "url_variable = \"A\"\nmention = \"Kim <kim@example.com>\""),
            channel("mail", "to = [\"ops@example.jp\", \"当番 <duty@example.jp>\"]"),
            channel("google_chat", "url_variable = \"A\"\nmention = \"all\""),
            channel("chatwork", "token_variable = \"A\"\nroom_id = \"12\"\nmention = \"34\""),
            LINE_WORKS.to_owned(),
            LINE_WORKS.replace("channel_id", "user_id"),
        ] {
            let config = Sections::parse("batchctl.toml", &text).unwrap();
            assert!(config.alerts.channel[0].target().is_ok(), "{text}");
        }
        let config = Sections::parse("batchctl.toml", LINE_WORKS).unwrap();
        let named: Vec<&str> =
            config.alerts.named_variables().into_iter().map(|variable| variable.name).collect();
        assert_eq!(named, ["WORKS_ID", "WORKS_SECRET", "WORKS_KEY"]);
    }

    #[test]
    fn what_a_kind_needs_and_what_it_has_no_use_for_is_named_with_its_line() {
        for (text, message) in [
            (channel("teams", ""), "1: `alerts.channel` `ops` of the kind `teams` needs `url_variable`"),
            (
                channel("chatwork", "room_id = \"1\""),
                "1: `alerts.channel` `ops` of the kind `chatwork` needs `token_variable`",
            ),
            (
                channel("chatwork", "token_variable = \"A\"\nroom_id = \"rid1\""),
                "5: `room_id` of alerts.channel `ops`: `rid1` is not a room's number: write the digits after `rid` in the \
                 room's address",
            ),
            (
                channel("google_chat", "url_variable = \"A\"\nmention = \"<users/all>\""),
                "5: `mention` of alerts.channel `ops` mentions nobody on `google_chat`: write the digits of a user's id, or \
                 all",
            ),
            (channel("mail", ""), "1: `alerts.channel` `ops` of the kind `mail` needs `to`"),
            (channel("mail", "to = []"), "1: `alerts.channel` `ops` of the kind `mail` needs `to`"),
            (
                LINE_WORKS.replace("bot_id = \"2000001\"\n", ""),
                "1: `alerts.channel` `works` of the kind `line_works` needs `bot_id`",
            ),
            (
                LINE_WORKS.replace("channel_id = \"room-1\"\n", ""),
                "1: `alerts.channel` `works` of the kind `line_works` needs `channel_id` or `user_id`",
            ),
            (
                format!("{LINE_WORKS}user_id = \"kim\""),
                "10: alerts.channel `works` has a `channel_id` already: it writes to one of them",
            ),
            (
                channel("slack", "url_variable = \"A\"\nto = [\"ops@example.jp\"]"),
                "5: `to` of alerts.channel `ops` is not for the kind `slack`",
            ),
            (
                channel("mail", "to = [\"a@example.jp\", \"hunter22\"]"),
                "4: `to` of alerts.channel `ops`: number 2 is not a mail address: write one like ops@example.jp",
            ),
            (
                channel("teams", "url_variable = \"https://x.api.powerplatform.com/hunter22\""),
                "4: `url_variable` of alerts.channel `ops` contains a URL: put the URL in a variable such as \
                 OPS_TEAMS_URL and write that name here",
            ),
            (
                LINE_WORKS.replace("WORKS_KEY", "-----BEGIN PRIVATE KEY-----"),
                "7: `private_key_variable` of alerts.channel `works` is not a variable's name: write one like \
                 LINE_WORKS_PRIVATE_KEY",
            ),
            (
                channel("teams", "url_variable = \"A\"\nmention = \"<!here> you\""),
                "5: `mention` of alerts.channel `ops` mentions nobody on `teams`: write Kim <kim@example.com>, or \
                 just the user's Entra object id",
            ),
            (
                format!("{LINE_WORKS}mention = \"<m userId=all>\""),
                "10: `mention` of alerts.channel `works` mentions nobody on `line_works`: write a user's id, or all",
            ),
            (
                channel("team", ""),
                "3: `alerts.channel.kind`: `team` is not known: write \"slack\", \"teams\", \"line_works\", \"chatwork\", \
                 \"google_chat\", \"mail\" or \"webhook\"",
            ),
            (
                format!("{LINE_WORKS}bot = \"1\""),
                "10: unknown key `bot` in `alerts.channel`: did you mean `bot_id`?",
            ),
        ] {
            assert_eq!(error(&text), message);
        }
    }
}
