//! `env show|export`: every effective setting, and where it came from.

use crate::context::Context;

/// Show the environment's settings
#[derive(Debug, clap::Subcommand)]
pub enum EnvCommand {
    /// Show every effective setting and where it came from, secrets masked
    Show,
    /// Print shell exports with the real values, for `eval "$(batchctl env export)"`
    Export,
}

impl EnvCommand {
    /// Runs the chosen command.
    pub fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        let mut text = String::new();
        match self {
            Self::Show => {
                let settings = cx.config.effective();
                let width = settings.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
                for setting in settings {
                    text.push_str(&format!(
                        "{:<width$}  {}  ({})\n",
                        setting.name, setting.value_for_display, setting.source
                    ));
                }
            }
            Self::Export => {
                for (name, value) in cx.config.exports() {
                    let value = shlex::try_quote(&value)?;
                    text.push_str(&format!("export {name}={value}\n"));
                }
            }
        }
        match self {
            // Quoted for the shell, which is to read what is there.
            Self::Export => Ok(cx.output.data(text.as_bytes())?),
            Self::Show => Ok(cx.output.text(&text)?),
        }
    }
}
