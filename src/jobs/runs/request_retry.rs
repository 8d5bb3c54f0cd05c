//! `runs request-retry`: requests a retry of a run. Any admin tool may do so by inserting the same row.

use crate::context::Context;
use crate::failure::Failure;
use crate::values;

use super::show::existing_run;

/// Request a retry, which `runs process-requests` will run
#[derive(Debug, clap::Args)]
pub struct RequestRetryArgs {
    /// The ID of the run
    id: i64,
    /// The reason, for the history
    #[arg(long)]
    reason: String,
    /// Who requests it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
}

pub(super) async fn request_retry(cx: &Context, args: &RequestRetryArgs) -> anyhow::Result<()> {
    if args.reason.trim().is_empty() {
        return Err(Failure::usage("--reason is empty").into());
    }
    let mut db = cx.db().await?;
    let run = existing_run(&mut db, args.id).await?;
    let redact = |text: &str| cx.config.redactor().redact(text);
    let (request,): (i64,) = db
        .fetch_one(
            "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, status)
             VALUES ($1, $2, $3, $4, 'PENDING') RETURNING id",
            values![run.id, redact(&args.reason), redact(&args.by), cx.machine_time()],
        )
        .await?;
    db.close().await;
    cx.output.status(&format!("Requested a retry of {} (run {}) as request {request}", run.label(), run.id));
    Ok(())
}
