//! `mall token authorize`: the only step that needs a person with a browser.

use url::Url;

use crate::clients::cafe24::oauth::Oauth;
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Secret;
use crate::sealed::random_word;
use crate::shop::tokens::{self, Keys};

use super::set::refuse_other_account;

/// Ask a shop's owner to authorise this app
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The mall's code, ID or account
    mall: String,
    /// Where the browser is redirected with the code; one of the app's addresses (default: `cafe24.redirect_uri`)
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<String>,
}

pub(super) async fn authorize(cx: &Context, args: &Args) -> anyhow::Result<()> {
    let keys = Keys::new(&cx.config)?;
    let settings = cx.config.cafe24();
    let Some(redirect_uri) = args.redirect_uri.as_ref().or(settings.redirect_uri.as_ref()) else {
        return Err(Failure::configuration("`cafe24.redirect_uri` is not set")
            .hint("set it to one of the app's addresses in Cafe24's console, or add --redirect-uri")
            .into());
    };
    let mut db = cx.db().await?;
    let mall = super::mall_with_token(&mut db, &args.mall).await?;
    let account = mall.account();
    let oauth = Oauth::new(cx, account)?;
    let state = random_word().map_err(|error| Failure::failed(error.to_string()))?;
    let url = oauth.authorize_url(redirect_uri, &settings.scopes(), &state)?;
    cx.output.data(format!("{url}\n").as_bytes())?;
    let answer = cx.output.ask(
        "Open this address as the shop's owner, allow the app, and paste the address that the browser is redirected to:",
    )?;
    let code = code(&answer, &state)?;
    let tokens = oauth.exchange(&code, redirect_uri).await.map_err(Failure::from)?;
    refuse_other_account(&tokens, account)?;
    tokens::put(cx, &mut db, &keys, account, &tokens).await?;
    db.close().await;
    cx.output.status(&format!("Authorised mall `{}` (account {account})", mall.code));
    Ok(())
}

/// The code in the pasted text: an address, whose `state` must be ours, or the bare code.
fn code(answer: &str, state: &str) -> Result<Secret, Failure> {
    let wrong = |what: &str| {
        Failure::bad_input(format!("failed to read the code: {what}"))
            .hint("paste the whole address that the browser was redirected to, within a minute")
    };
    let Ok(url) = Url::parse(answer) else {
        if answer.is_empty() || !answer.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(if answer.is_empty() { "nothing was entered" } else { "it is not a code" }));
        }
        return Ok(Secret::new(answer));
    };
    let value =
        |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
    if let Some(error) = value("error") {
        return Err(Failure::failed(format!("the app was not allowed to read the shop: {error}")));
    }
    if value("state").as_deref() != Some(state) {
        return Err(Failure::refused(
            "the address belongs to another authorisation: its `state` is not ours",
        )
        .hint("start over, and open the new address"));
    }
    value("code").filter(|code| !code.is_empty()).map(Secret::new).ok_or_else(|| wrong("it has no `code`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn the_code_is_taken_from_the_address_if_its_state_is_ours() {
        let code =
            |answer| code(answer, "S1").map(|code| code.expose().to_owned()).map_err(|error| error.kind);
        assert_eq!(code("https://shop.jp/back?code=C%2B1&state=S1").unwrap(), "C+1");
        assert_eq!(code("C1").unwrap(), "C1");
        assert_eq!(code("https://shop.jp/back?code=C1&state=S2"), Err(FailureKind::Refused));
        assert_eq!(code("https://shop.jp/back?code=C1"), Err(FailureKind::Refused));
        assert_eq!(code("https://shop.jp/back?error=access_denied&state=S1"), Err(FailureKind::Failed));
        for wrong in ["", "two words", "https://shop.jp/back?state=S1", "https://shop.jp/back?code=&state=S1"]
        {
            assert_eq!(code(wrong), Err(FailureKind::BadInput), "{wrong}");
        }
    }
}
