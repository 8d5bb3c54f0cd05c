//! One request to an API.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use url::form_urlencoded;

use crate::mask::Secret;

/// One request.
#[derive(Debug)]
pub struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, String)],
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) secrets: Vec<&'a Secret>,
    pub(super) tries: Option<u32>,
    pub(super) is_answer_secret: bool,
}

impl<'a> Call<'a> {
    /// A request that may be repeated. The path is below the API's address; an empty one is the address itself.
    pub fn get(path: &'a str, query: &'a [(&'a str, String)]) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            headers: HeaderMap::new(),
            body: None,
            secrets: Vec::new(),
            tries: None,
            is_answer_secret: false,
        }
    }

    /// A form that is sent once, unless [`Call::tries`] allows more.
    pub fn post(path: &'a str, form: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Self::post_bytes(path, "application/x-www-form-urlencoded", body.into_bytes())
    }

    /// A JSON document that is sent once, unless [`Call::tries`] allows more.
    pub fn post_json(path: &'a str, document: &Value) -> Self {
        Self::post_bytes(path, "application/json", document.to_string().into_bytes())
    }

    /// A body of this type that is sent once, unless [`Call::tries`] allows more.
    pub fn post_bytes(path: &'a str, content_type: &'static str, body: Vec<u8>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { method: Method::POST, body: Some(body), tries: Some(1), headers, ..Self::get(path, &[]) }
    }

    /// Adds headers, replacing existing ones.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Names a secret of this call, so that no error repeats it.
    #[must_use]
    pub fn secret(mut self, secret: &'a Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Marks the response as a secret, such as a token: only an error message in it is ever quoted.
    #[must_use]
    pub fn for_secret(mut self) -> Self {
        self.is_answer_secret = true;
        self
    }

    /// Allows this many attempts, as for a call that may be repeated.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }
}
