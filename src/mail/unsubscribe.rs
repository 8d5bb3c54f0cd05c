//! One-click unsubscription (RFC 8058): the headers of advertising mails, and the token in their link.
//!
//! A token is `BASE64URL(LIST ":" ADDRESS) "." BASE64URL(HMAC-SHA256(KEY, the first part))`, without padding: the shop's
//! web application checks it with the same key and needs no table. docs/mail.md has the recipe. The key is derived from
//! `BATCHCTL_SECRET_KEY`, which also opens the tokens of malls and must not be given to another program.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::digest::hmac_sha256;
use crate::failure::Failure;
use crate::mask::Secret;

/// Separates this key from others that are derived from the same secret.
const PURPOSE: &[u8] = b"batchctl unsubscribe links v1";

/// The key that signs the links: for people and programs who know it, it is this text and not what it encodes.
pub fn derived_key(secret_key: &Secret) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(hmac_sha256(secret_key.expose().as_bytes(), PURPOSE)))
}

/// How recipients unsubscribe from advertising.
#[derive(Debug, Clone)]
pub struct Unsubscribe {
    url: String,
    mailto: Option<String>,
    list_id: Option<String>,
    key: Secret,
}

impl Unsubscribe {
    /// Reads `[mail.unsubscribe]`. Advertising without a way to unsubscribe is not sent in any environment.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let settings = &config.mail().unsubscribe;
        let Some(url) = &settings.url else {
            return Err(Failure::configuration(
                "`mail.unsubscribe.url` is not set: advertising requires one-click unsubscription (RFC 8058)",
            )
            .hint("write url = \"https://shop.example.jp/unsubscribe?t={token}\" below [mail.unsubscribe] of batchctl.toml"));
        };
        let key = config.secret_key().map_err(|error| {
            Failure::configuration(error.to_string())
                .hint(format!(
                    "if there was a key, set that one again in {}: with another one the links in sent mails no longer \
                     work; only for a first set-up make one with `openssl rand -base64 32`, and keep it",
                    config.variables_file()
                ))
                .retry_once("once the key is set")
        })?;
        Ok(Self {
            url: url.clone(),
            mailto: settings.mailto.clone(),
            list_id: settings.list_id.clone(),
            key: derived_key(key),
        })
    }

    /// The link for a recipient of a list, for the headers and the body.
    pub fn link(&self, list: &str, address: &str) -> String {
        self.url.replace("{token}", &self.token(list, address))
    }

    /// The headers of a mail of a list: `List-Unsubscribe`, `List-Unsubscribe-Post` and, where configured, `List-Id`.
    pub fn headers(&self, list: &str, address: &str) -> Vec<(String, String)> {
        let token = self.token(list, address);
        let mut targets = vec![format!("<{}>", self.url.replace("{token}", &token))];
        if let Some(mailto) = &self.mailto {
            targets.push(format!("<mailto:{mailto}?subject=unsubscribe%20{token}>"));
        }
        let mut headers = vec![
            ("List-Unsubscribe".to_owned(), targets.join(", ")),
            ("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned()),
        ];
        if let Some(list_id) = &self.list_id {
            headers.push(("List-Id".to_owned(), format!("<{list_id}>")));
        }
        headers
    }

    fn token(&self, list: &str, address: &str) -> String {
        let claim = URL_SAFE_NO_PAD.encode(format!("{list}:{}", address.to_lowercase()));
        let mac = hmac_sha256(self.key.expose().as_bytes(), claim.as_bytes());
        format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}
