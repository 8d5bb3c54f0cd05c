//! A generic JSON webhook: one POST of a JSON document; any 2xx is success.

use serde_json::Value;

use super::message::Message;
use super::{Fault, Part, Poster, terms};
use crate::clients::api::{Address, Api, Call, retry_after};
use crate::context::Context;
use crate::digest::fingerprint;

/// A webhook.
pub(super) struct Webhook {
    api: Api,
    environment: String,
}

impl Webhook {
    /// The webhook at this URL.
    pub(super) fn new(cx: &Context, url: &str) -> Result<Self, Fault> {
        let api = Api::new(cx, Address::webhook(url)?, terms("the webhook", retry_after))?;
        Ok(Self { api, environment: cx.config.environment().to_owned() })
    }

    async fn post(&self, document: Value) -> Result<(), Fault> {
        Ok(self.api.tell(Call::post_json("", &document), |_| Ok(())).await?)
    }
}

impl Poster for Webhook {
    fn parts<'a>(&'a self, message: &Message) -> Result<Vec<Part<'a>>, Fault> {
        let document = message.document(&self.environment);
        Ok(vec![Part::new(fingerprint(document.to_string()), self.post(document))])
    }
}
