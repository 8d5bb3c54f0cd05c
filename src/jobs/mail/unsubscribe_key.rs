//! `mail unsubscribe-key`: the key with which a web application checks the links of advertising mails.

use crate::context::Context;
use crate::failure::Failure;
use crate::mail::unsubscribe::derived_key;

/// Prints the keys that the links in mails may be signed with, the current one first.
pub(super) fn print(cx: &Context) -> anyhow::Result<()> {
    let current = cx.config.secret_key().map_err(|error| {
        Failure::configuration(format!("{error}: the key of the links is derived from it"))
            .hint(format!("run it where {} has the key that `mail flush` uses", cx.config.variables_file()))
    })?;
    for key in [Some(current), cx.config.previous_secret_key()].into_iter().flatten() {
        cx.output.data(format!("{}\n", derived_key(key).expose()).as_bytes())?;
    }
    Ok(())
}
