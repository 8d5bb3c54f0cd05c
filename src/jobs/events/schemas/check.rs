//! `events schemas check`: whether the schemas can be read, and whether the registry has them or would take them. For CI, before
//! a change is merged: it changes nothing.

use crate::clients::schema_registry::{Compatibility, LookedUp, SchemaRegistry};
use crate::config::KafkaConfig;
use crate::context::Context;
use crate::failure::is_broken_pipe;
use crate::runner::{ExitCode, report_error, worse};
use crate::wording::share;

use super::{EventSchema, Schemas, Selected, shown};

/// Check that the schemas can be read, and may follow those in the registry
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    selected: Selected,
    /// Only read the schemas, and ask no registry
    #[arg(long, conflicts_with = "registered")]
    offline: bool,
    /// Fail as well if a schema is not registered yet
    #[arg(long)]
    registered: bool,
}

/// What is found of a schema.
struct Finding {
    text: String,
    is_good: bool,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_good: true }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_good: false }
    }
}

pub(super) async fn check(cx: &Context, args: &CheckArgs) -> ExitCode {
    match check_all(cx, args).await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::Completed,
        Err(error) => report_error(cx, &error),
    }
}

async fn check_all(cx: &Context, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = &cx.config.events().kafka;
    let (schemas, mut broken) = Schemas::load_what_can_be(&cx.config)?;
    args.selected.refuse_unknown(&schemas, &broken)?;
    broken.retain(|(event_type, _)| args.selected.has(event_type));
    let registry = if args.offline { None } else { Some(SchemaRegistry::new(cx)?) };
    let (mut checked, mut bad) = (0, 0);
    for (event_type, found) in schemas.iter().filter(|(event_type, _)| args.selected.has(event_type)) {
        let finding = match &registry {
            None => Finding::good("can be read"),
            Some(registry) => ask(registry, config, args, event_type, found).await?,
        };
        checked += 1;
        bad += u64::from(!finding.is_good);
        cx.output.text(&format!("{}: {}\n", shown(event_type), finding.text))?;
    }
    let mut code = ExitCode::Completed;
    if bad > 0 {
        let count = share(bad, checked, "schema", "schemas");
        cx.output.error(&format!("{count} not as the registry needs it: see above"), &[]);
        code = ExitCode::Partial;
    }
    for (_, failure) in broken {
        code = worse(code, report_error(cx, &failure.into()));
    }
    Ok(code)
}

async fn ask(
    registry: &SchemaRegistry,
    config: &KafkaConfig,
    args: &CheckArgs,
    event_type: &str,
    found: &EventSchema,
) -> anyhow::Result<Finding> {
    let subject = args.selected.subject(config, event_type, found)?;
    match registry.look_up(&subject, &found.schema).await? {
        LookedUp::Known(id) => return Ok(Finding::good(format!("registered as {id} (subject `{subject}`)"))),
        LookedUp::Invalid(reason) => {
            return Ok(Finding::bad(format!(
                "refused by the schema registry: {reason} (subject `{subject}`)"
            )));
        }
        LookedUp::NoSubject | LookedUp::NoSchema => {}
    }
    let not_yet = |text: &str| Finding {
        text: format!("not registered yet, {text} (subject `{subject}`)"),
        is_good: !args.registered,
    };
    Ok(match registry.compatibility(&subject, &found.schema).await? {
        Compatibility::Compatible => not_yet("and may be"),
        Compatibility::NoSubject => not_yet("and there is none before it"),
        Compatibility::Incompatible(reason) => {
            Finding::bad(format!("not compatible with those before it: {reason} (subject `{subject}`)"))
        }
        Compatibility::Invalid(reason) => {
            Finding::bad(format!("refused by the schema registry: {reason} (subject `{subject}`)"))
        }
    })
}
