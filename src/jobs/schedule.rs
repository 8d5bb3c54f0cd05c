//! `schedule crontab`: the jobs' own schedules as crontab lines.

use crate::config::Config;
use crate::context::Context;

use super::specs;

/// Jobs that not every shop needs, and that need something of the user's own: their lines are there, switched off, with what
/// they usually are.
const BY_CHOICE: [(&str, &str, &str); 1] = [("data import", "30 0 * * *", "--inbox /var/lib/batchctl/inbox")];

/// What has to be set before a job can do anything, and is not: it would fail each time that cron starts it.
fn lacks(config: &Config, job: &str) -> Option<&'static str> {
    match job {
        "events publish" if config.events().sink.is_none() => Some("[events] of batchctl.toml has a sink"),
        "stock reconcile" | "stock summary" if config.redis().target.is_none() => {
            Some("BATCHCTL_REDIS_URL is set")
        }
        _ => None,
    }
}

/// Print the jobs' schedules
#[derive(Debug, clap::Subcommand)]
pub enum Schedule {
    /// Print crontab lines for all scheduled jobs
    Crontab {
        /// The path of the program
        #[arg(long, value_name = "PATH", default_value = "batchctl", value_parser = on_one_line)]
        program: String,
        /// The folder with `.env.NAME` and `batchctl.toml`
        #[arg(long, value_name = "DIR", default_value = "/etc/batchctl", value_parser = on_one_line)]
        directory: String,
    },
}

impl Schedule {
    /// Runs the chosen command.
    pub fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Crontab { program, directory } => {
                // Its lines name the environment, so that no run would notice.
                cx.refuse_forgotten_environment()?;
                Ok(cx.output.data(crontab(cx, program, directory).as_bytes())?)
            }
        }
    }
}

/// A path on one line of a crontab: a line break begins another job, whatever quotes are around it.
fn on_one_line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it contains a line break or another control character".to_owned());
    }
    Ok(text.to_owned())
}

/// A crontab of all scheduled jobs, with the changes of `batchctl.toml`.
fn crontab(cx: &Context, program: &str, directory: &str) -> String {
    let mut text = format!(
        "# Printed by `batchctl schedule crontab`. Times are in the business time zone. Debian's cron knows only the\n\
        # machine's time zone; cronie and others obey CRON_TZ.\n\
         # On Debian: timedatectl set-timezone {0}, then systemctl restart cron.\n\
         # cron mails what a command prints: a success prints nothing, a failure at most 20 lines.\n\
         CRON_TZ={0}\n\
         SHELL=/bin/sh\n",
        cx.time_zone().name()
    );
    for spec in specs() {
        let changed = cx.config.job(spec.name);
        let usual = BY_CHOICE.iter().find(|(name, ..)| *name == spec.name);
        let own = changed.and_then(|job| job.schedule.as_deref());
        let Some(schedule) = own.or(spec.schedule).or(usual.map(|(_, schedule, _)| *schedule)) else {
            continue;
        };
        let is_chosen = own.is_some() || spec.schedule.is_some();
        let enabled = changed.and_then(|job| job.enabled);
        let mark = match (enabled.unwrap_or(is_chosen), lacks(&cx.config, spec.name)) {
            (false, _) => "# disabled: ".to_owned(),
            (true, Some(until)) if enabled.is_none() => format!("# left out until {until}: "),
            (true, _) => String::new(),
        };
        let arguments = changed.and_then(|job| job.arguments.as_deref());
        let arguments = arguments.or(usual.map(|(.., arguments)| *arguments)).unwrap_or_default();
        let words =
            spec.name.split(' ').map(str::to_owned).chain(shlex::split(arguments).unwrap_or_default());
        let command: Vec<String> = words.map(|word| quoted(&word)).collect();
        text.push_str(&format!(
            "\n# {}\n{mark}{schedule} cd {} && {} --env {} {}\n",
            spec.summary,
            quoted(directory),
            quoted(program),
            cx.config.environment(),
            command.join(" ")
        ));
    }
    text
}

/// Quoted for the shell, with cron's own special character escaped (crontab(5): an unescaped % ends the command).
fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| String::new(), |quoted| quoted.replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_begin_another_line() {
        assert_eq!(on_one_line("/etc/batch ctl"), Ok("/etc/batch ctl".to_owned()));
        assert!(on_one_line("/etc\n* * * * * id").is_err() && on_one_line("a\rb").is_err());
    }

    #[test]
    fn every_jobs_own_schedule_is_one_that_cron_takes() {
        for spec in specs() {
            assert_eq!(spec.schedule.map_or(Ok(()), crate::crontab::check), Ok(()), "{}", spec.name);
        }
    }
}
