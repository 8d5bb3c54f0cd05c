//! `mall token set`: stores tokens from elsewhere, read from stdin because every user of the machine can see arguments.

use std::io::Read as _;

use crate::clients::cafe24::oauth::{Oauth, Tokens};
use crate::context::Context;
use crate::failure::Failure;
use crate::mask::Secret;
use crate::shop::tokens::{self, Keys};

/// More than any OAuth response has.
const MAX_BYTES: u64 = 64 * 1024;

/// Arguments of `mall token set`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The mall's code, ID or account
    mall: String,
}

pub(super) async fn set(cx: &Context, args: &Args) -> anyhow::Result<()> {
    let keys = Keys::new(&cx.config)?;
    let mut db = cx.db().await?;
    let mall = super::mall_with_token(&mut db, &args.mall).await?;
    let given = read()?;
    let account = mall.account();
    let tokens = if given.expose().starts_with('{') {
        Tokens::from_answer(given.expose().as_bytes()).map_err(|error| {
            Failure::bad_input(format!("failed to read the tokens from stdin: {error}"))
                .hint("pass the whole response of Cafe24's /oauth/token, or a refresh token")
        })?
    } else {
        refuse_invalid_token(&given)?;
        Oauth::new(cx, account)?.refresh(&given).await.map_err(Failure::from)?
    };
    refuse_other_account(&tokens, account)?;
    tokens::put(cx, &mut db, &keys, account, &tokens).await?;
    db.close().await;
    cx.output.status(&format!("Stored the tokens of mall `{}` (account {account})", mall.code));
    Ok(())
}

fn read() -> anyhow::Result<Secret> {
    let mut text = String::new();
    std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).map_err(|error| {
        Failure::bad_input(format!("failed to read the tokens from stdin: {}", error.kind()))
    })?;
    Ok(Secret::new(text.trim()))
}

fn refuse_invalid_token(given: &Secret) -> Result<(), Failure> {
    let token = given.expose();
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let what = if token.is_empty() { "stdin is empty" } else { "it is neither JSON nor a token" };
    Err(Failure::bad_input(format!("failed to read the tokens from stdin: {what}"))
        .hint("pass the whole response of Cafe24's /oauth/token, or a refresh token"))
}

/// Refuses the tokens of another shop, which would fill this mall with that shop's data.
pub(super) fn refuse_other_account(tokens: &Tokens, account: &str) -> Result<(), Failure> {
    match &tokens.account {
        Some(other) if other != account => Err(Failure::bad_input(format!(
            "the tokens belong to account `{other}`, not to `{account}`; nothing was stored"
        ))
        .hint("name that account's mall, or change the mall's account: batchctl mall add CODE --account ID")),
        _ => Ok(()),
    }
}
