//! Amazon SES, API version 2: one `SendEmail` per mail, with the message as we built it (`Content.Raw`), so that
//! headers, Message-ID and DKIM signature stay ours.
//!
//! SES reports for each mail whether it accepted it. What it reports about the account (suspended, paused, daily
//! quota) or about the request's signature applies to every mail and stops the sending.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};
use url::{Position, Url};

use super::api::{Address, Answer, Api, ApiError, Call, refused_login};
use super::mail_api::{self, ascii_address};
use crate::context::Context;
use crate::digest::hmac_sha256;
use crate::failure::Failure;
use crate::mail::delivery::{Deferral, Outcome, Rejection, Stop};
use crate::mask::Secret;

/// The path of `SendEmail`.
const PATH: &str = "v2/email/outbound-emails";
/// The type of its body.
const JSON: &str = "application/json";
/// What the signature calls the service; its host begins with `email`.
const SIGNING_NAME: &str = "ses";
/// The variables of the key, unless the configuration names others.
pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(super) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The errors of a refused log-in that are named to a person.
const KNOWN_REFUSALS: [&str; 11] = [
    "AccessDeniedException",
    "AccountSuspendedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SendingPausedException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// The largest message that SES accepts.
const MAX_MESSAGE_BYTES: usize = 40 * 1024 * 1024;

/// Amazon SES as `[mail.ses]` describes it. Shared by all concurrent senders.
#[derive(Debug)]
pub struct Ses {
    api: Api,
    configuration_set: Option<String>,
    signer: Signer,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmail<'a> {
    from_email_address: &'a str,
    destination: Destination<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_set_name: Option<&'a str>,
    content: Content,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Destination<'a> {
    to_addresses: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    raw: Raw,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    data: String,
}

impl Ses {
    /// Reads `[mail.ses]` and the credentials.
    pub fn new(cx: &Context) -> Result<Self, Failure> {
        let config = &cx.config;
        let settings = &config.mail().ses;
        let Some(region) = &settings.region else {
            return Err(Failure::configuration("`mail.ses.region` is not set: Amazon SES needs it")
                .hint("write region = \"ap-northeast-1\" below [mail.ses] of batchctl.toml"));
        };
        if region.is_empty()
            || !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            return Err(Failure::configuration(
                "`mail.ses.region` is not a region: write one like ap-northeast-1",
            ));
        }
        let endpoint = settings
            .endpoint
            .as_deref()
            .map_or_else(|| Cow::Owned(format!("https://email.{region}.amazonaws.com")), Cow::Borrowed);
        let variable = |named: &Option<String>, default: &'static str| {
            let name = named.as_deref().unwrap_or(default);
            config.variable(name).map(str::to_owned).ok_or_else(|| {
                Failure::configuration(format!("variable `{name}` is not set: Amazon SES needs it"))
                    .hint(format!("set it in {}", config.variables_file()))
                    .retry_once("once it is set")
            })
        };
        let access_key_id = variable(&settings.access_key_id_variable, ACCESS_KEY_ID)?;
        let secret = variable(&settings.secret_access_key_variable, SECRET_ACCESS_KEY)?;
        let session_token = match (&settings.session_token_variable, &settings.access_key_id_variable) {
            (Some(_), _) => Some(variable(&settings.session_token_variable, "")?),
            (None, None) => config.variable("AWS_SESSION_TOKEN").map(str::to_owned),
            // AWS's own variable belongs to AWS's own key, not to one configured under another name.
            (None, Some(_)) => None,
        };
        Ok(Self {
            api: Api::new(cx, Address::host("mail.ses.endpoint", &endpoint)?, mail_api::terms("Amazon SES"))?,
            configuration_set: settings.configuration_set.clone(),
            signer: Signer {
                access_key_id,
                secret: Secret::new(secret),
                session_token: session_token.map(Secret::new),
                region: region.clone(),
                service: SIGNING_NAME,
            },
        })
    }

    /// Sends a built message to one recipient. `from` and `to` are the envelope's addresses;
    /// display names are in the message's own headers.
    pub async fn send(&self, from: &str, to: &str, message: &[u8]) -> Result<Outcome, Stop> {
        let [from, to] = match [from, to].map(ascii_address) {
            [Some(from), Some(to)] => [from, to],
            [None, _] => return Err(Stop::Configuration(unreachable_local_part("sender"))),
            [_, None] => return Ok(not_this_mail(unreachable_local_part("recipient"))),
        };
        if message.len() > MAX_MESSAGE_BYTES {
            let reply =
                format!("the message has {} bytes, Amazon SES takes {MAX_MESSAGE_BYTES}", message.len());
            return Ok(not_this_mail(reply));
        }
        let body = SendEmail {
            from_email_address: &from,
            destination: Destination { to_addresses: [&to] },
            configuration_set_name: self.configuration_set.as_deref(),
            content: Content { raw: Raw { data: STANDARD.encode(message) } },
        };
        let body = serde_json::to_vec(&body)
            .map_err(|error| Stop::Refused(format!("failed to write a request: {error}")))?;
        let unsigned = |error: String| Stop::Configuration(format!("failed to sign a request: {error}"));
        let url = self.api.own_link(PATH).map_err(|error: ApiError| unsigned(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        // The machine's clock, even in a rehearsal: AWS compares it with its own.
        let time = Api::machine_time();
        self.signer.sign("POST", &url, &mut headers, &body, time).map_err(unsigned)?;
        // A refused signature is answered with the whole canonical request, session token included.
        let call = Call::post_bytes(PATH, JSON, body).headers(headers).secret(&self.signer.secret);
        let call = self.signer.session_token.iter().fold(call, Call::secret);
        match self.api.exchange(call).await {
            Ok(answer) => outcome(&answer, &from),
            Err(error) => mail_api::unanswered(&error),
        }
    }
}

/// What a response means for the current mail, or for all of them.
fn outcome(answer: &Answer, from: &str) -> Result<Outcome, Stop> {
    let json = answer.json().unwrap_or_default();
    let text = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str());
    if answer.status.is_success() {
        // SES answers with 200 and an id. Any other success is that of something in between and says nothing about the
        // mail, which may have been taken all the same.
        let id = text(["MessageId", "messageId"])
            .filter(|id| answer.status == StatusCode::OK && !id.trim().is_empty());
        let Some(id) = id else {
            return Ok(Outcome::Unknown {
                reply: format!("no MessageId in the answer: {}", answer.quoted()),
            });
        };
        return Ok(Outcome::Accepted { reply: answer.quote(id), provider_message_id: Some(id.to_owned()) });
    }
    // `BadRequestException:http://internal.amazon.com/…`, or `com.amazon.coral#BadRequestException` in the body.
    let kind = answer.header("x-amzn-ErrorType").or_else(|| text(["__type", "code"])).unwrap_or_default();
    let kind = kind.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let message = text(["message", "Message"]).unwrap_or_default();
    let words = [kind, message].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ");
    let reply = if words.is_empty() { answer.quoted() } else { answer.quote(&words) };
    judge(answer.status, kind, message, from, reply, mail_api::stated_wait(answer))
}

/// What an error means for this mail, or for all of them.
fn judge(
    status: StatusCode,
    kind: &str,
    message: &str,
    from: &str,
    reply: String,
    wait: Option<Duration>,
) -> Result<Outcome, Stop> {
    if status.is_server_error() || (kind.is_empty() && message.is_empty()) {
        return mail_api::unsaid("Amazon SES", "mail.ses.endpoint", status, !kind.is_empty(), reply, wait);
    }
    let is_about_credentials = status == StatusCode::FORBIDDEN
        || status == StatusCode::UNAUTHORIZED
        || ["Signature", "Token", "Credential", "AccessDenied", "RequestExpired"]
            .iter()
            .any(|word| kind.contains(word));
    let reply = if is_about_credentials { refused_login(status, kind, &KNOWN_REFUSALS) } else { reply };
    match kind {
        // The daily quota is used up: no mail is sent before tomorrow.
        _ if message.contains("Daily message quota") => Err(Stop::Busy(reply)),
        "AccountSuspendedException" | "SendingPausedException" | "MailFromDomainNotVerifiedException" => {
            Err(Stop::Refused(reply))
        }
        "NotFoundException" => Err(Stop::Configuration(format!("`mail.ses.configuration_set`: {reply}"))),
        // If it is the sender's identity, this applies to every mail; if a recipient in the sandbox, only to this one.
        // Either way the account is at fault and not the recipient: nobody must be suppressed for it.
        "MessageRejected" | "MessageRejectedException" if message.contains("not verified") => {
            if message.to_lowercase().contains(&from.to_lowercase()) {
                Err(Stop::Refused(reply))
            } else {
                Ok(Outcome::Rejected { reply, because: Rejection::Policy })
            }
        }
        // A virus, or a format that SES does not accept.
        "MessageRejected" | "MessageRejectedException" | "BadRequestException" | "ValidationException" => {
            Ok(not_this_mail(reply))
        }
        "LimitExceededException" | "TooManyRequestsException" | "ThrottlingException" => {
            Ok(Outcome::SlowDown { reply, wait })
        }
        _ if status == StatusCode::FORBIDDEN && mail_api::is_about_quota(message) => {
            Err(Stop::Busy(mail_api::quota_spent(status)))
        }
        _ if is_about_credentials => Err(Stop::Credentials(reply)),
        _ => match status {
            StatusCode::TOO_MANY_REQUESTS => Ok(Outcome::SlowDown { reply, wait }),
            StatusCode::REQUEST_TIMEOUT => Ok(Outcome::Deferred { reply, because: Deferral::Unsaid }),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(not_this_mail(reply)),
            StatusCode::NOT_FOUND => Err(Stop::Configuration(format!("`mail.ses.endpoint`: {reply}"))),
            _ => Err(Stop::Refused(reply)),
        },
    }
}

fn not_this_mail(reply: String) -> Outcome {
    Outcome::Rejected { reply, because: Rejection::Mail }
}

fn unreachable_local_part(whose: &str) -> String {
    format!("the {whose}'s address has characters before the @ that Amazon SES cannot carry")
}

/// What is encoded in a part of a canonical request: all but the unreserved characters (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Signs requests with AWS Signature Version 4, in the headers.
#[derive(Debug)]
struct Signer {
    access_key_id: String,
    secret: Secret,
    session_token: Option<Secret>,
    region: String,
    service: &'static str,
}

impl Signer {
    /// Adds `Authorization`, `X-Amz-Date` and, for temporary credentials, `X-Amz-Security-Token`. Every header present
    /// is signed.
    fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        time: DateTime<Utc>,
    ) -> Result<(), String> {
        let at = time.format("%Y%m%dT%H%M%SZ").to_string();
        headers.insert("x-amz-date", secret_header(&at)?);
        if let Some(token) = &self.session_token {
            headers.insert("x-amz-security-token", secret_header(token.expose())?);
        }
        let mut signed =
            BTreeMap::from([("host", url[Position::BeforeHost..Position::AfterPort].to_owned())]);
        for (name, value) in &*headers {
            let value = value.to_str().map_err(|error| error.to_string())?;
            signed.insert(name.as_str(), value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        let names = signed.keys().copied().collect::<Vec<_>>().join(";");
        let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        // By name, then by value: `a-b` sorts after `a`, although `a-b=` sorts before `a=`.
        let mut query: Vec<(String, String)> =
            url.query_pairs().map(|(name, value)| (encoded(&name), encoded(&value))).collect();
        query.sort();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method}\n{}\n{}\n{}\n{names}\n{}",
            // Encoded a second time, as all services except S3 require.
            utf8_percent_encode(url.path(), RESERVED_IN_PATH),
            query.join("&"),
            lines.concat(),
            hex::encode(Sha256::digest(body))
        );

        let scope = [&at[..8], &self.region, self.service, "aws4_request"];
        let key = scope.iter().fold(format!("AWS4{}", self.secret.expose()).into_bytes(), |key, word| {
            hmac_sha256(&key, word.as_bytes()).to_vec()
        });
        let scope = scope.join("/");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key_id,
            hex::encode(hmac_sha256(&key, text.as_bytes()))
        );
        headers.insert("authorization", secret_header(&authorization)?);
        Ok(())
    }
}

/// A header value that no log shows.
fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LoadOptions};
    use crate::failure::FailureKind;
    use crate::mask::Redactor;
    use crate::output::{LogFormat, Output};

    /// The key of AWS's published examples, at 2015-08-30T12:36:00Z.
    fn signer(service: &'static str, session_token: Option<&str>) -> Signer {
        Signer {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(Secret::new),
            region: "us-east-1".to_owned(),
            service,
        }
    }

    fn authorization(signer: &Signer, method: &str, url: &str, content_type: Option<&'static str>) -> String {
        let time = chrono::DateTime::parse_from_rfc3339("2015-08-30T12:36:00Z").unwrap().to_utc();
        let mut headers = HeaderMap::new();
        headers.extend(content_type.map(|text| (CONTENT_TYPE, HeaderValue::from_static(text))));
        signer.sign(method, &Url::parse(url).unwrap(), &mut headers, b"", time).unwrap();
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        headers["authorization"].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_example_of_awss_documentation_has_its_published_signature() {
        let signed = authorization(
            &signer("iam", None),
            "GET",
            "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
            Some("application/x-www-form-urlencoded; charset=utf-8"),
        );
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn requests_of_awss_test_suite_have_their_published_signatures() {
        for (method, token, signature) in [
            ("GET", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                Some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
        ] {
            let signed =
                authorization(&signer("service", token), method, "https://example.amazonaws.com/", None);
            let names =
                if token.is_some() { "host;x-amz-date;x-amz-security-token" } else { "host;x-amz-date" };
            assert_eq!(
                signed,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders={names}, Signature={signature}"
                )
            );
        }
    }

    #[test]
    fn neither_the_key_nor_the_token_is_shown() {
        let shown = format!("{:?}", signer("ses", Some("hunter22hunter22")));
        assert!(!shown.contains("wJalr") && !shown.contains("hunter22"), "{shown}");
    }

    /// The configuration of a folder with this `[mail.ses]`.
    fn configured(section: &str, variables: &[(&str, &str)]) -> Result<Ses, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("batchctl.toml"), format!("[mail.ses]\n{section}\n")).unwrap();
        let config = Config::load(LoadOptions {
            env_flag: None,
            working_dir: folder.path().to_owned(),
            process_env: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            full_paths: false,
        })
        .unwrap();
        let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
        Ses::new(&Context::new(config, output)).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::Configuration);
            failure.message
        })
    }

    #[test]
    fn what_is_missing_is_named() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter22")];
        let region = "region = \"ap-northeast-1\"";
        for (section, variables, message) in [
            ("", &keys[..], "`mail.ses.region` is not set: Amazon SES needs it"),
            (
                "region = \"x.evil.jp/\"",
                &keys,
                "`mail.ses.region` is not a region: write one like ap-northeast-1",
            ),
            (region, &keys[..1], "variable `AWS_SECRET_ACCESS_KEY` is not set: Amazon SES needs it"),
            (region, &keys[1..], "variable `AWS_ACCESS_KEY_ID` is not set: Amazon SES needs it"),
            (
                "region = \"ap-northeast-1\"\nsession_token_variable = \"SES_TOKEN\"",
                &keys,
                "variable `SES_TOKEN` is not set: Amazon SES needs it",
            ),
        ] {
            assert_eq!(configured(section, variables).unwrap_err(), message);
        }
        let ses = configured(region, &keys).unwrap();
        assert_eq!(
            ses.api.own_link(PATH).unwrap().as_str(),
            "https://email.ap-northeast-1.amazonaws.com/v2/email/outbound-emails"
        );
    }

    #[test]
    fn awss_own_session_token_belongs_to_awss_own_key() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hunter22"),
            ("AWS_SESSION_TOKEN", "hunter23"),
            ("SES_KEY_ID", "AKID2"),
        ];
        let region = "region = \"ap-northeast-1\"";
        let ses = configured(region, &variables).unwrap();
        assert!(ses.signer.session_token.is_some());
        let ses =
            configured(&format!("{region}\naccess_key_id_variable = \"SES_KEY_ID\""), &variables).unwrap();
        assert_eq!((ses.signer.access_key_id.as_str(), &ses.signer.session_token), ("AKID2", &None));
        assert!(!format!("{ses:?}").contains("hunter"));
    }

    #[tokio::test]
    async fn what_ses_could_not_carry_is_refused_before_it_is_called() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter22")];
        // Nobody listens there: a request would end as unreachable.
        let section = "region = \"ap-northeast-1\"\nendpoint = \"http://127.0.0.1:1\"";
        let ses = configured(section, &keys).unwrap();
        let because = |outcome| match outcome {
            Ok(Outcome::Rejected { because, reply }) => (because, reply),
            other => panic!("{other:?}"),
        };
        let (rejection, reply) = because(ses.send("a@example.jp", "山田@example.jp", b"x").await);
        assert!(rejection == Rejection::Mail && reply.contains("the recipient's address"), "{reply}");
        let large = vec![b'x'; MAX_MESSAGE_BYTES + 1];
        let (rejection, reply) = because(ses.send("a@example.jp", "b@example.jp", &large).await);
        assert!(rejection == Rejection::Mail && reply.contains("41943041 bytes"), "{reply}");
        let asked = ses.send("a@example.jp", "b@example.jp", b"x").await;
        assert!(matches!(asked, Err(Stop::Unreachable(_))), "{asked:?}");
    }

    /// What an error of this status, type and message means.
    fn judged(status: u16, kind: &str, message: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        match judge(status, kind, message, "Shop@example.jp", String::new(), None) {
            Ok(Outcome::Rejected { because, .. }) => format!("{because:?}"),
            Ok(outcome) => format!("{outcome:?}").split(' ').next().unwrap().to_owned(),
            Err(stop) => format!("stop {stop:?}").split('(').next().unwrap().to_owned(),
        }
    }

    #[test]
    fn each_error_means_what_it_says() {
        let sandbox = "Email address is not verified. The following identities failed the check in region \
                       AP-NORTHEAST-1: a@example.jp";
        let sender = "Email address is not verified. The following identities failed the check in region \
                      AP-NORTHEAST-1: shop@example.jp";
        for (status, kind, message, meaning) in [
            (429, "TooManyRequestsException", "Maximum sending rate exceeded.", "SlowDown"),
            (429, "", "", "SlowDown"),
            (400, "ThrottlingException", "Rate exceeded", "SlowDown"),
            (400, "LimitExceededException", "Too many instances", "SlowDown"),
            (429, "TooManyRequestsException", "Daily message quota exceeded.", "stop Busy"),
            (400, "LimitExceededException", "Daily message quota exceeded", "stop Busy"),
            (400, "AccountSuspendedException", "", "stop Refused"),
            (400, "SendingPausedException", "", "stop Refused"),
            (400, "MailFromDomainNotVerifiedException", "", "stop Refused"),
            (404, "NotFoundException", "Configuration set <x> does not exist", "stop Configuration"),
            (404, "", "", "stop Configuration"),
            (403, "SignatureDoesNotMatch", "", "stop Credentials"),
            (403, "AccessDeniedException", "You have exceeded your sending limits", "stop Busy"),
            (403, "UnrecognizedClientException", "", "stop Credentials"),
            (403, "ExpiredTokenException", "", "stop Credentials"),
            (403, "AccessDeniedException", "", "stop Credentials"),
            (400, "IncompleteSignature", "", "stop Credentials"),
            (400, "InvalidClientTokenId", "", "stop Credentials"),
            (400, "MessageRejected", sandbox, "Policy"),
            (400, "MessageRejected", sender, "stop Refused"),
            (400, "MessageRejected", "Message contains a virus", "Mail"),
            (400, "BadRequestException", "Illegal address", "Mail"),
            (413, "RequestEntityTooLarge", "", "Mail"),
            // Pages of something in front of it.
            (400, "", "", "Policy"),
            (413, "", "", "Policy"),
            (403, "", "", "stop Refused"),
            (500, "InternalFailure", "", "SlowDown"),
            (503, "", "", "SlowDown"),
            // Whatever the name says, a 5xx is a fault of the service.
            (500, "MessageRejected", "Message contains a virus", "SlowDown"),
            (503, "AccessDeniedException", "", "SlowDown"),
            (503, "NotFoundException", "", "SlowDown"),
            (500, "", "", "SlowDown"),
            // It may have reached the service, and only the answer is lost.
            (502, "", "", "Unknown"),
            (504, "", "", "Unknown"),
            (520, "", "", "Unknown"),
            (524, "", "", "Unknown"),
            (525, "", "", "SlowDown"),
            (408, "", "", "Deferred"),
            (405, "", "", "stop Configuration"),
            (401, "", "", "stop Credentials"),
            (301, "", "", "stop Refused"),
        ] {
            assert_eq!(judged(status, kind, message), meaning, "{status} {kind} {message}");
        }
    }
}
