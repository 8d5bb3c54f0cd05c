//! Tries a proposed mapping on the sampled lines.

use std::sync::Arc;

use crate::db::{Kind as DbKind, Problems};
use crate::failure::Failure;
use crate::shop::malls::Mall;

use super::super::bad_lines::BadLines;
use super::super::feed::{Feed, FeedMessage, Pass, ReadPlan};
use super::super::kind::FileKind;
use super::super::kinds::Kind;
use super::super::layout::Layout;
use super::super::mapping::Mapping;
use super::super::reader::Source;
use super::sample::{self, Sample};

/// The mall and the currencies that stand in while the sample is tried.
const MALL: &str = "main";
const CURRENCIES: [&str; 3] = ["JPY", "KRW", "USD"];

/// How a mapping reads a header.
pub(super) fn layout(mapping: &Mapping, header: &[String]) -> Result<Layout, Failure> {
    layout_in(mapping, "the file", header, CURRENCIES[0])
}

/// A mall stands in: which one it is says the command line.
fn layout_in(mapping: &Mapping, file: &str, header: &[String], currency: &str) -> Result<Layout, Failure> {
    let mall = Mall {
        id: 1,
        code: MALL.to_owned(),
        name: MALL.to_owned(),
        platform: "csv".to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        currency: currency.to_owned(),
        is_active: true,
        account: None,
        shop_no: 1,
        problems: Problems::default(),
    };
    let columns = mapping.kind().columns();
    Layout::new(mapping, file, header, columns, &[mall], Some(MALL.to_owned()))
}

/// What is wrong with the sampled lines if they are read as proposed.
#[derive(Default)]
pub(in super::super) struct Trial {
    pub(super) lines: u64,
    pub(super) bad: BadLines,
    /// Good lines that are left out, most of them because another line of their record is bad.
    left_out: u64,
    /// A fault of the file, which would end its import.
    pub(super) fault: Option<String>,
}

impl Trial {
    /// Whether not one line could be imported.
    pub(super) fn is_useless(&self) -> bool {
        !self.bad.is_empty() && self.bad.count() + self.left_out >= self.lines
    }
}

/// Reads the sampled lines as proposed; `None` if that needs the stored data.
pub(super) async fn trial(
    mapping: &Mapping,
    sample: &Sample,
    source: &Source,
    header: &[String],
) -> anyhow::Result<Option<Trial>> {
    let kind = mapping.kind();
    if kind == Kind::Refunds {
        return Ok(None);
    }
    let mut best: Option<Trial> = None;
    // Which currency a mall has is not in the file; amounts with decimals do not fit all of them.
    for currency in CURRENCIES {
        let layout = Arc::new(layout_in(mapping, &source.name(), header, currency)?);
        let tried = kind.try_lines(source, &layout, sample.is_whole).await?;
        if tried.bad.is_empty() {
            return Ok(Some(tried));
        }
        if best.as_ref().is_none_or(|best| tried.bad.count() < best.bad.count()) {
            best = Some(tried);
        }
    }
    Ok(best)
}

/// Reads the lines of the sample.
pub(in super::super) async fn try_lines<K: FileKind>(
    source: &Source,
    layout: &Arc<Layout>,
    is_whole: bool,
) -> anyhow::Result<Trial> {
    let plan = ReadPlan {
        pass: Pass::Check,
        wanted: None,
        chunk_lines: sample::LINES as u64,
        database: DbKind::Sqlite,
    };
    let mut feed = Feed::<K::Rows>::start::<K>(source, layout, plan);
    let mut trial = Trial::default();
    loop {
        let message = match feed.next().await.map_err(anyhow::Error::downcast::<Failure>) {
            Ok(message) => message,
            // A fault of the file would end its import: that is worth saying, and no reason to say nothing else.
            Err(Ok(fault)) => return Ok(Trial { fault: Some(fault.message), ..trial }),
            Err(Err(error)) => return Err(error),
        };
        match message {
            FeedMessage::Chunk(chunk) => {
                trial.lines += chunk.lines;
                trial.left_out += chunk.left_out;
                trial.bad.note(chunk.bad);
                // The last order of a sample may go on behind it.
                if !is_whole && trial.lines >= sample::LINES as u64 {
                    return Ok(trial);
                }
            }
            FeedMessage::End(_) => return Ok(trial),
        }
    }
}
