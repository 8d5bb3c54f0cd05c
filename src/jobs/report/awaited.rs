//! Figures of a day whose data has not come: they are provisional, every form of the report says so and why, and they are
//! replaced once the data is there.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::context::Context;
use crate::db::{Db, FromRow, Problems};
use crate::documents::{Cell, Column, ColumnKind};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::runner::Run;
use crate::shop::arrivals::{Awaited, Subject};
use crate::shop::malls::{Mall, all_malls};
use crate::values;
use crate::wording::command;

use super::outdated::FigureTable;

/// The columns of a table of figures that say what they wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct AwaitedColumns {
    /// [`Subject::word`]; `None` for figures that wait for nothing.
    pub awaited_subject: Option<String>,
    /// Up to when that kind of data had come of the days before.
    pub awaited_since: Option<DateTime<Utc>>,
    /// The first day that it is missing of.
    pub awaited_day: Option<NaiveDate>,
    /// The run that has stored it in part.
    pub awaited_run: Option<i64>,
    /// What cannot be read of them.
    #[row(problems)]
    pub problems: Problems,
}

impl From<Option<Awaited>> for AwaitedColumns {
    fn from(awaited: Option<Awaited>) -> Self {
        Self {
            awaited_subject: awaited.map(|awaited| awaited.subject.word().to_owned()),
            awaited_since: awaited.and_then(|awaited| awaited.since),
            awaited_day: awaited.map(|awaited| awaited.day),
            awaited_run: awaited.and_then(|awaited| awaited.partial_run),
            problems: Problems::default(),
        }
    }
}

impl AwaitedColumns {
    /// Their names, for a query.
    pub const NAMES: &'static str = "awaited_subject, awaited_since, awaited_day, awaited_run";

    /// Whether the figures wait for data.
    pub fn is_awaiting(&self) -> bool {
        self.awaited_subject.is_some()
    }

    fn awaited(&self) -> Option<Awaited> {
        let word = self.awaited_subject.as_deref()?;
        // A word that this version does not know says no less that data is missing.
        Some(Awaited {
            subject: Subject::of(word).unwrap_or(Subject::Order),
            day: self.awaited_day?,
            since: self.awaited_since,
            partial_run: self.awaited_run,
        })
    }
}

/// A mall whose figures wait for data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitingMall {
    /// The mall's name.
    pub name: String,
    awaited: Awaited,
}

/// The malls of awaiting rows by id and name, each once.
pub fn awaiting_malls<'f>(
    rows: impl Iterator<Item = (i64, &'f str, &'f AwaitedColumns)>,
) -> Vec<AwaitingMall> {
    let mut malls: Vec<(i64, AwaitingMall)> = Vec::new();
    for (id, name, columns) in rows {
        if let Some(awaited) = columns.awaited()
            && malls.iter().all(|(known, _)| *known != id)
        {
            malls.push((id, AwaitingMall { name: name.to_owned(), awaited }));
        }
    }
    malls.into_iter().map(|(_, mall)| mall).collect()
}

impl AwaitingMall {
    /// Why its figures are provisional, in the reader's language.
    pub fn reason(&self, time_zone: Tz, locale: Locale) -> String {
        reason(&self.awaited, time_zone, locale)
    }
}

/// Why figures are provisional.
fn reason(awaited: &Awaited, time_zone: Tz, locale: Locale) -> String {
    let noun = match awaited.subject {
        Subject::Order => locale.pick("orders", "注文データ", "주문 데이터"),
        Subject::Sales => locale.pick("payments", "決済・キャンセルデータ", "결제·취소 데이터"),
        Subject::Refund => locale.pick("refunds", "返金データ", "환불 데이터"),
        Subject::Member => locale.pick("members", "会員データ", "회원 데이터"),
    };
    let day = awaited.day;
    if let Some(run) = awaited.partial_run {
        return locale.pick(
            format!("the {noun} of {day} have been stored only in part (run {run})"),
            format!("{day}の{noun}は一部しか取り込まれていません（実行番号 {run}）"),
            format!("{day} {noun}가 일부만 수집되었습니다(실행 번호 {run})"),
        );
    }
    match awaited.since {
        Some(since) => {
            let since = since.with_timezone(&time_zone).format("%Y-%m-%d %H:%M %Z");
            locale.pick(
                format!("the {noun} of {day} have not arrived; those before are as of {since}"),
                format!("{day}の{noun}が未着です（それ以前は{since}時点）"),
                format!("{day} {noun}가 아직 들어오지 않았습니다(이전 데이터는 {since} 기준)"),
            )
        }
        None => locale.pick(
            format!("the {noun} of {day} have not arrived, nor any before"),
            format!("{day}の{noun}が未着です（それ以前も届いていません）"),
            format!("{day} {noun}가 아직 들어오지 않았습니다(이전 데이터도 없습니다)"),
        ),
    }
}

/// Whether a mall's stored figures of a period wait for data.
pub async fn are_awaiting(
    db: &mut Db,
    table: FigureTable,
    period: NaiveDate,
    mall: i64,
) -> anyhow::Result<bool> {
    let FigureTable { name, period_column, .. } = table;
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {name}
                        WHERE {period_column} = $1 AND mall_id = $2 AND awaited_subject IS NOT NULL)"
    );
    let (are,): (bool,) = db.fetch_one(&sql, values![period, mall]).await?;
    Ok(are)
}

/// Refuses expectations of a mall that does not exist, which would be those of none.
pub async fn check_malls(cx: &Context, db: &mut Db) -> anyhow::Result<()> {
    let configured = &cx.config.freshness().malls;
    if configured.is_empty() {
        return Ok(());
    }
    let malls = all_malls(db).await?;
    match configured.keys().find(|code| malls.iter().all(|mall| mall.code != **code)) {
        None => Ok(()),
        Some(code) => {
            let known: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            Err(Failure::configuration(format!("`freshness.malls`: unknown mall `{code}`"))
                .hint(format!("the malls are {}", known.join(", ")))
                .into())
        }
    }
}

/// Notes the malls whose figures a run made provisional. They are its items that are not finished: the run is partial, an
/// operator is told, and a run that makes them final settles it.
pub fn note_in_run(run: &mut Run<'_>, malls: &[(Mall, Awaited)]) {
    let time_zone = run.cx.time_zone();
    for (mall, awaited) in malls {
        let reason = reason(awaited, time_zone, Locale::En);
        let hint = match (awaited.partial_run, awaited.since) {
            (Some(run), _) => format!(
                "{}; or accept what is missing: {}",
                command(&["runs", "retry", &run.to_string()]),
                command(&["runs", "dismiss", &run.to_string(), "--reason", "TEXT"])
            ),
            (None, Some(_)) => {
                "import or sync the data: the next nightly run makes the figures final".to_owned()
            }
            (None, None) => {
                format!("import or sync the data, or expect none: see [freshness.malls.{}]", mall.code)
            }
        };
        let failure = Failure::bad_input(format!("{reason}: its figures are provisional")).hint(hint);
        run.note_provisional(&mall.code, "freshness", &failure);
    }
}

/// The word that marks provisional figures.
pub fn word(locale: Locale) -> &'static str {
    locale.pick("provisional", "仮", "잠정")
}

/// A document's title with the word, if some of its figures are provisional.
pub fn marked_title(title: &str, is_provisional: bool, locale: Locale) -> String {
    if !is_provisional {
        return title.to_owned();
    }
    let word = word(locale);
    locale.pick(format!("{title} ({word})"), format!("{title}（{word}）"), format!("{title}({word})"))
}

/// The fact of a document: whose figures are provisional, and why. None if none are.
pub fn fact(malls: &[AwaitingMall], time_zone: Tz, locale: Locale) -> Option<(String, String)> {
    if malls.is_empty() {
        return None;
    }
    let malls: Vec<String> = malls
        .iter()
        .map(|mall| {
            let reason = mall.reason(time_zone, locale);
            locale.pick(
                format!("{}: {reason}", mall.name),
                format!("{}：{reason}", mall.name),
                format!("{}: {reason}", mall.name),
            )
        })
        .collect();
    let label = locale.pick("Provisional", "暫定値", "잠정 수치");
    Some((label.to_owned(), malls.join(" / ")))
}

/// The note that explains the fact. None if none are provisional.
pub fn note(malls: &[AwaitingMall], locale: Locale) -> Option<String> {
    let note = locale.pick(
        "The figures of the malls under “Provisional” are not final: their data has not arrived completely. They are computed again once it has.",
        "「暫定値」に挙げた店舗はデータが揃っていないため、数値は確定していません。データが届き次第、再集計します。",
        "'잠정 수치'에 표시된 쇼핑몰은 데이터가 모두 들어오지 않아 수치가 확정되지 않았습니다. 데이터가 들어오면 다시 집계합니다.",
    );
    (!malls.is_empty()).then(|| note.to_owned())
}

/// A column of a table for machines, with [`final_cell`]: whether a row's figures are final.
pub fn final_column(locale: Locale) -> Column {
    Column::new("is_final", locale.pick("Final", "確定", "확정"), ColumnKind::Text)
}

/// A cell of [`final_column`].
pub fn final_cell(is_awaiting: bool) -> Cell {
    Cell::Bool(!is_awaiting)
}

/// Their names and reasons, for a mail.
pub fn variables(malls: &[AwaitingMall], time_zone: Tz, locale: Locale) -> Value {
    malls.iter().map(|mall| json!({ "name": mall.name, "reason": mall.reason(time_zone, locale) })).collect()
}
