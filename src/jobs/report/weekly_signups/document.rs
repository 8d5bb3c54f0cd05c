//! The stored counts as a document and as the variables of their mail. No member data is read here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::TABLE;
use crate::config::ReportConfig;
use crate::db::{Db, FromRow, Problems};
use crate::digest::fingerprint;
use crate::documents::{Cell, Column, ColumnKind, Document, Row, Table};
use crate::failure::Failure;
use crate::jobs::report::awaited::{self, AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::outdated::{self, OutdatedMall, outdated_malls};
use crate::jobs::report::publication::Extent;
use crate::jobs::report::shown_malls::ShownMalls;
use crate::jobs::report::soundness::Unreadable;
use crate::jobs::report::told::Headline;
use crate::locale::Locale;
use crate::period::DayRange;
use crate::shop::malls::Mall;
use crate::values;

#[derive(Debug, Clone, FromRow)]
struct MallRow {
    week_day: NaiveDate,
    mall_id: i64,
    min_cell: i64,
    signups: Option<i64>,
    active: Option<i64>,
    unconfirmed: Option<i64>,
    withdrawn: Option<i64>,
    computed_at: DateTime<Utc>,
    outdated_at: Option<DateTime<Utc>>,
    #[row(problems)]
    problems: Problems,
    #[row(flatten)]
    awaited: AwaitedColumns,
}

impl MallRow {
    fn counts(&self) -> [Option<i64>; 4] {
        [self.signups, self.active, self.unconfirmed, self.withdrawn]
    }
}

#[derive(Debug, Clone, FromRow)]
struct GroupRow {
    week_day: NaiveDate,
    mall_id: i64,
    channel: String,
    is_other: bool,
    signups: i64,
    active: Option<i64>,
    unconfirmed: Option<i64>,
    withdrawn: Option<i64>,
    #[row(problems)]
    problems: Problems,
}

/// Everything a document of these weeks needs, as stored.
pub struct Figures {
    weeks: BTreeSet<NaiveDate>,
    malls: ShownMalls,
    rows: Vec<MallRow>,
    groups: Vec<GroupRow>,
    /// What is left out, with its whole mall.
    unreadable: Unreadable,
}

impl Figures {
    /// Loads the malls' stored counts of the weeks that begin on these Mondays. A mall with a row that cannot be read is
    /// left out: a sum without that row would be wrong.
    pub(super) async fn load(
        db: &mut Db,
        weeks: &BTreeSet<NaiveDate>,
        malls: &[Mall],
        config: &ReportConfig,
    ) -> anyhow::Result<Self> {
        let (Some(&first), Some(&last)) = (weeks.first(), weeks.last()) else {
            anyhow::bail!("a report needs a week");
        };
        let malls = ShownMalls::new(malls, config);
        let is_asked = |week, mall| weeks.contains(&week) && malls.contains_key(&mall);
        let mut rows: Vec<MallRow> = db
            .fetch_all(
                "SELECT week_day, mall_id, min_cell, signups, active, unconfirmed, withdrawn, computed_at,
                        outdated_at, awaited_subject, awaited_since, awaited_day, awaited_run
                 FROM weekly_signups WHERE week_day BETWEEN $1 AND $2 ORDER BY week_day, mall_id",
                values![first, last],
            )
            .await?;
        let mut groups: Vec<GroupRow> = db
            .fetch_all(
                "SELECT week_day, mall_id, channel, is_other, signups, active, unconfirmed, withdrawn
                 FROM weekly_signups_by_channel WHERE week_day BETWEEN $1 AND $2",
                values![first, last],
            )
            .await?;
        let mut unreadable = Unreadable::default();
        for row in &rows {
            unreadable.note_row(row.mall_id, row.week_day, "week_day", &row.problems);
            unreadable.note_row(row.mall_id, row.week_day, "week_day", &row.awaited.problems);
        }
        for row in &groups {
            unreadable.note_row(row.mall_id, row.week_day, "week_day", &row.problems);
        }
        unreadable.look_for(db, TABLE, first, last).await?;
        let is_shown =
            |week: NaiveDate, mall: i64| is_asked(week, mall) && !unreadable.include_any(mall, weeks);
        rows.retain(|row| is_shown(row.week_day, row.mall_id));
        rows.sort_by_key(|row| (row.week_day, malls.place(row.mall_id)));
        groups.retain(|row| is_shown(row.week_day, row.mall_id));
        // The largest first, "other" last; sorted in Rust because the databases sort texts differently.
        groups.sort_by(|one, other| {
            let place = |mall| malls.place(mall);
            let key = |row: &GroupRow| (row.week_day, place(row.mall_id), row.is_other, -row.signups);
            key(one).cmp(&key(other)).then_with(|| one.channel.cmp(&other.channel))
        });
        Ok(Self { weeks: weeks.clone(), malls, rows, groups, unreadable })
    }

    /// Refuses counts that lack a mall.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.unreadable.check("weekly-signups", &self.weeks, self.malls.values())
    }

    /// When the newest of the counts were computed; `otherwise` if there are none.
    pub(super) fn computed_at(&self, otherwise: DateTime<Utc>) -> DateTime<Utc> {
        self.rows.iter().map(|row| row.computed_at).max().unwrap_or(otherwise)
    }

    /// Whether there are no stored counts for these weeks and malls.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// That each mall has counts. That they have changed is said, and not by how much: the difference may be a single person.
    pub(super) fn headlines(&self) -> Vec<Headline> {
        let of_row = |row: &MallRow| {
            let groups = self.groups.iter().filter(|group| group.mall_id == row.mall_id);
            let counts: Vec<_> = groups
                .map(|group| {
                    let counts = (group.signups, group.active, group.unconfirmed, group.withdrawn);
                    (&group.channel, group.is_other, counts)
                })
                .collect();
            let mark = fingerprint(format!("{:?} {counts:?}", row.counts()));
            Headline::of_presence((row.mall_id, self.name(row.mall_id)), mark)
                .awaiting(row.awaited.is_awaiting())
        };
        self.rows.iter().map(of_row).collect()
    }

    /// The malls with counts that a later run failed to replace.
    fn outdated(&self) -> Vec<OutdatedMall> {
        let rows = self.rows.iter().filter(|row| row.outdated_at.is_some());
        outdated_malls(rows.map(|row| (row.mall_id, self.name(row.mall_id), row.computed_at)))
    }

    /// The malls whose counts wait for data.
    pub(super) fn awaiting(&self) -> Vec<AwaitingMall> {
        awaiting_malls(self.rows.iter().map(|row| (row.mall_id, self.name(row.mall_id), &row.awaited)))
    }

    fn code(&self, id: i64) -> &str {
        self.malls.code(id)
    }

    fn name(&self, id: i64) -> &str {
        self.malls.name(id)
    }

    fn min_cell(&self) -> i64 {
        self.rows.iter().map(|row| row.min_cell).max().unwrap_or(0)
    }

    /// The sum over the disclosed malls: computed only from disclosed counts, so that it reveals nothing more. A status
    /// that one of them withholds is withheld here too.
    fn total(&self) -> [Option<i64>; 4] {
        let mut total = [Some(0); 4];
        for row in self.rows.iter().filter(|row| row.signups.is_some()) {
            for (sum, count) in total.iter_mut().zip(row.counts()) {
                *sum = sum.zip(count).map(|(sum, count)| sum + count);
            }
        }
        total
    }
}

/// A group's name: the shop's or ours.
fn group_name(group: &GroupRow, locale: Locale) -> &str {
    match (group.is_other, group.channel.as_str()) {
        (true, _) => locale.pick("other", "その他", "기타"),
        (false, "") => locale.pick("not stated", "不明", "미확인"),
        (false, channel) => channel,
    }
}

fn columns(locale: Locale, with_channel: bool) -> Vec<Column> {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let number = |key, label| Column::new(key, label, ColumnKind::Number);
    let mut columns = vec![
        Column::new("week_day", locale.pick("Week from", "週（月曜日）", "주(월요일)"), ColumnKind::Date),
        text("mall", locale.pick("Mall", "店舗", "쇼핑몰")).for_programs(),
        text("mall_name", locale.pick("Mall", "店舗", "쇼핑몰")),
    ];
    if with_channel {
        columns.push(text("channel", locale.pick("Channel", "登録経路", "가입 경로")));
    }
    columns.extend([
        number("signups", locale.pick("Sign-ups", "新規登録", "신규 가입")),
        number("active", locale.pick("Active", "有効", "활성")),
        number("unconfirmed", locale.pick("Unconfirmed", "未確認", "미인증")),
        number("withdrawn", locale.pick("Withdrawn", "退会", "탈퇴")),
    ]);
    columns
}

fn count_cells(counts: [Option<i64>; 4], withheld: &Cell) -> impl Iterator<Item = Cell> {
    counts.map(|count| count.map_or_else(|| withheld.clone(), Cell::Int)).into_iter()
}

/// The document for people, and for JSON and XLSX.
pub(super) fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
    let (outdated, awaiting) = (figures.outdated(), figures.awaiting());
    let withheld = Cell::text("–");
    let mut rows: Vec<Row> = figures
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![
                Cell::Date(row.week_day),
                Cell::text(figures.code(row.mall_id)),
                Cell::text(figures.name(row.mall_id)),
            ];
            cells.extend(count_cells(row.counts(), &withheld));
            Row::new(cells)
        })
        .collect();
    if figures.weeks.len() == 1 && figures.rows.len() > 1 {
        let total = Cell::text(locale.pick("Total", "合計", "합계"));
        let mut cells = vec![Cell::Empty, total.clone(), total];
        cells.extend(count_cells(figures.total(), &withheld));
        rows.push(Row::total(cells));
    }
    let mut malls = Table {
        key: "malls",
        title: locale.pick("Sign-ups by mall", "店舗別新規登録", "쇼핑몰별 신규 가입").to_owned(),
        columns: columns(locale, false),
        rows,
    };
    if extent == Extent::Everything {
        malls.columns.extend([awaited::final_column(locale), outdated::column(locale)]);
        let marks = figures.rows.iter().map(marks_of);
        // The total comes last.
        for (row, marks) in
            malls.rows.iter_mut().zip(marks.chain(std::iter::repeat([Cell::Empty, Cell::Empty])))
        {
            row.cells.extend(marks);
        }
    }
    let (first, last) = (figures.weeks.first().copied(), figures.weeks.last().copied());
    let period = first.zip(last).and_then(|(first, last)| {
        DayRange::new(DayRange::week_of(first).first(), DayRange::week_of(last).last()).ok()
    });
    let period = period.map(|period| period.to_string()).unwrap_or_default();
    Document {
        name: format!("weekly-signups-{}", period.replace("..", "_")),
        title: awaited::marked_title(
            locale.pick("Weekly sign-ups report", "週次新規会員レポート", "주간 신규 회원 보고서"),
            !awaiting.is_empty(),
            locale,
        ),
        facts: [
            (locale.pick("Week", "対象週", "대상 주").to_owned(), period),
            (
                locale.pick("Computed", "集計日時", "집계 일시").to_owned(),
                figures
                    .computed_at(DateTime::UNIX_EPOCH)
                    .with_timezone(&time_zone)
                    .format("%Y-%m-%d %H:%M %Z")
                    .to_string(),
            ),
        ]
        .into_iter()
        .chain(awaited::fact(&awaiting, time_zone, locale))
        .chain(outdated::fact(&outdated, time_zone, locale))
        .collect(),
        locale,
        tables: vec![malls, groups_table(figures, locale, &withheld)],
        charts: Vec::new(),
        notes: awaited::note(&awaiting, locale)
            .into_iter()
            .chain(outdated::note(&outdated, locale))
            .chain(notes(figures, locale))
            .collect(),
    }
}

/// Whether a row's counts are final, and whether they are older than the last attempt.
fn marks_of(row: &MallRow) -> [Cell; 2] {
    [awaited::final_cell(row.awaited.is_awaiting()), outdated::cell(row.outdated_at.is_some())]
}

fn groups_table(figures: &Figures, locale: Locale, withheld: &Cell) -> Table {
    let rows = figures
        .groups
        .iter()
        .map(|group| {
            let mut cells = vec![
                Cell::Date(group.week_day),
                Cell::text(figures.code(group.mall_id)),
                Cell::text(figures.name(group.mall_id)),
                Cell::text(group_name(group, locale)),
            ];
            let counts = [Some(group.signups), group.active, group.unconfirmed, group.withdrawn];
            cells.extend(count_cells(counts, withheld));
            Row::new(cells)
        })
        .collect();
    Table {
        key: "channels",
        title: locale.pick("Sign-ups by channel", "登録経路別新規登録", "가입 경로별 신규 가입").to_owned(),
        columns: columns(locale, true),
        rows,
    }
}

fn notes(figures: &Figures, locale: Locale) -> Vec<String> {
    let least = figures.min_cell();
    vec![
        locale
            .pick(
                "Each member is counted once, in the week of the sign-up in the mall's own time zone, by the status at the end of that week. Members who requested erasure are not counted.",
                "会員は、各店舗のタイムゾーンで登録した週に一度だけ、その週の終了時点の状態で計上します。消去を請求した会員は含みません。",
                "회원은 각 쇼핑몰의 시간대를 기준으로 가입한 주에 한 번만, 그 주가 끝난 시점의 상태로 집계합니다. 삭제를 요청한 회원은 포함하지 않습니다.",
            )
            .to_owned(),
        locale.pick(
            format!("No count of fewer than {least} people is disclosed: small channels are merged into \"other\", and “–” means withheld. Totals include only malls that are not withheld."),
            format!("{least}人未満の人数は表示しません。人数の少ない経路は「その他」にまとめ、「–」は非表示です。合計は表示した店舗の合計です。"),
            format!("{least}명 미만의 인원수는 표시하지 않습니다. 인원이 적은 경로는 '기타'로 묶고, '–'는 비공개입니다. 합계는 표시된 쇼핑몰의 합계입니다."),
        ),
    ]
}

/// The single table of a CSV: a mall's total is the row without a channel; a withheld count is empty.
pub(super) fn flat_table(figures: &Figures, locale: Locale) -> Table {
    let mut table_columns = columns(locale, true);
    table_columns.retain(|column| column.key != "mall_name");
    table_columns.extend([awaited::final_column(locale), outdated::column(locale)]);
    // Last, so that a program that counts columns still finds those that it knows.
    table_columns.push(Column::new(
        "mall_name",
        locale.pick("Mall name", "店舗名", "쇼핑몰 이름"),
        ColumnKind::Text,
    ));
    table_columns.insert(3, Column::new("is_other", locale.pick("Merged", "統合", "통합"), ColumnKind::Text));
    let marks: BTreeMap<(NaiveDate, i64), [Cell; 2]> =
        figures.rows.iter().map(|row| ((row.week_day, row.mall_id), marks_of(row))).collect();
    let marks = |week, mall| marks.get(&(week, mall)).cloned().unwrap_or([Cell::Empty, Cell::Empty]);
    let mut rows: Vec<Row> = figures
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![
                Cell::Date(row.week_day),
                Cell::text(figures.code(row.mall_id)),
                Cell::Empty,
                Cell::Empty,
            ];
            cells.extend(count_cells(row.counts(), &Cell::Empty));
            cells.extend(marks(row.week_day, row.mall_id));
            cells.push(Cell::text(figures.name(row.mall_id)));
            Row::new(cells)
        })
        .collect();
    rows.extend(figures.groups.iter().map(|group| {
        let mut cells = vec![
            Cell::Date(group.week_day),
            Cell::text(figures.code(group.mall_id)),
            Cell::text(group_name(group, locale)),
            Cell::Bool(group.is_other),
        ];
        let counts = [Some(group.signups), group.active, group.unconfirmed, group.withdrawn];
        cells.extend(count_cells(counts, &Cell::Empty));
        cells.extend(marks(group.week_day, group.mall_id));
        cells.push(Cell::text(figures.name(group.mall_id)));
        Row::new(cells)
    }));
    Table { key: "weekly_signups", title: String::new(), columns: table_columns, rows }
}

/// The variables of the template `weekly-signups`, except `attachments`; a withheld count is null.
pub(super) fn variables(figures: &Figures, week: DayRange, locale: Locale) -> Value {
    let describe = |[signups, active, unconfirmed, withdrawn]: [Option<i64>; 4]| json!({ "signups": signups, "active": active, "unconfirmed": unconfirmed, "withdrawn": withdrawn });
    let malls: Vec<Value> = figures
        .rows
        .iter()
        .map(|row| {
            let groups = figures.groups.iter().filter(|group| group.mall_id == row.mall_id);
            let mut mall = describe(row.counts());
            mall["name"] = json!(figures.name(row.mall_id));
            mall["channels"] = groups
                .map(|group| json!({ "name": group_name(group, locale), "signups": group.signups }))
                .collect();
            mall
        })
        .collect();
    json!({
        "from_day": week.first().to_string(),
        "to_day": week.last().to_string(),
        "malls": malls,
        "total": describe(figures.total()),
        "min_cell": figures.min_cell(),
        "outdated_malls": outdated::names(&figures.outdated()),
    })
}
