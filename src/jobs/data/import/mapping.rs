//! How the files of a kind are written: which section of `[import]` in `batchctl.toml` applies, on top of which preset, and
//! whether it fits the columns and words that the kind has.

use crate::config::{Config, ConfigError, ImportColumn, ImportSection, ImportSections};
use crate::context::Context;
use crate::failure::Failure;
use crate::spelling::{advice, nearest};

use super::field::{Column, Holds};
use super::kinds::Kind;
use super::presets;

/// What a kind's files are read by.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    kind: Kind,
    /// The section's name: `import.orders`, `import.orders.osaka`.
    pub(super) section: String,
    /// The preset that it starts from.
    pub(super) preset: Option<String>,
    /// Where its keys are, in messages: `batchctl.toml`, or the preset.
    pub(super) origin: String,
    /// The named sections that were not chosen, if none was.
    pub(super) others: Vec<String>,
    /// The section on top of its preset.
    pub(super) keys: ImportSection,
}

/// What chooses a mapping on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    /// The name of a section.
    pub(super) section: Option<&'a str>,
    /// The name of a preset.
    pub(super) preset: Option<&'a str>,
    /// The code of the mall of the whole file.
    pub(super) mall: Option<&'a str>,
}

impl Mapping {
    /// The mapping of a file that was chosen.
    pub(super) fn choose(config: &Config, kind: Kind, choice: Choice<'_>) -> anyhow::Result<Self> {
        let none = ImportSections::default();
        let sections = config.import_sections(kind.name()).unwrap_or(&none);
        let chosen = match (choice.section, choice.mall) {
            (Some(name), _) => Some(named(sections, kind, name)?),
            (None, Some(mall)) => of_mall(sections, kind, mall)?,
            (None, None) => None,
        };
        let (name, own) = match chosen {
            Some((name, section)) => (Some(name), section),
            // A preset on the command line stands alone, unless the section is for it or was chosen by name.
            None if choice.preset.is_some() && sections.own.preset.as_deref() != choice.preset => {
                (None, &none.own)
            }
            None => (None, &sections.own),
        };
        let preset = choice.preset.map(str::to_owned).or_else(|| own.preset.clone());
        let others = if chosen.is_none() && preset.is_none() {
            sections.named.keys().cloned().collect()
        } else {
            Vec::new()
        };
        Self::new(kind, name, own.clone(), preset, others)
    }

    /// A preset as it is.
    pub(super) fn of_preset(kind: Kind, preset: &str) -> anyhow::Result<Self> {
        Self::new(kind, None, ImportSection::default(), Some(preset.to_owned()), Vec::new())
    }

    fn new(
        kind: Kind,
        name: Option<&str>,
        own: ImportSection,
        preset: Option<String>,
        others: Vec<String>,
    ) -> anyhow::Result<Self> {
        let section = match name {
            None => format!("import.{}", kind.name()),
            Some(name) => format!("import.{}.{name}", kind.name()),
        };
        let (keys, origin) = match &preset {
            None => (own, "batchctl.toml".to_owned()),
            Some(preset) => {
                let base = presets::section(preset, kind)?;
                let mut own = own;
                own.preset = None;
                (own.over(base), format!("the preset `{preset}`"))
            }
        };
        Ok(Self { kind, section, preset, origin, others, keys })
    }

    /// A section, on top of the preset that it names.
    pub(super) fn of_section(kind: Kind, keys: ImportSection) -> anyhow::Result<Self> {
        let preset = keys.preset.clone();
        Self::new(kind, None, keys, preset, Vec::new())
    }

    /// What its files contain.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// A section alone.
    #[cfg(test)]
    pub(super) fn plain(kind: Kind, keys: ImportSection) -> Self {
        Self::new(kind, None, keys, None, Vec::new()).unwrap()
    }

    /// Where a table of the mapping belongs: `batchctl.toml, [import.orders.values.status]`.
    pub(super) fn at(&self, table: &str) -> String {
        let section = &self.section;
        let preset = match &self.preset {
            Some(preset) => format!(", below [{section}] with preset = \"{preset}\""),
            None => String::new(),
        };
        format!("batchctl.toml, [{section}.{table}]{preset}")
    }

    /// Refuses what no file could be read by.
    pub(super) fn refuse_misuse(&self) -> Result<(), Failure> {
        let columns = self.kind.columns();
        if let Some((table, name)) = self.unknown_columns(&columns).next() {
            return Err(Failure::configuration(self.unknown_column(table, name))
                .hint(format!("the columns are {}", listed(&columns))));
        }
        match self.misuses(&columns).into_iter().next() {
            Some(misuse) => Err(Failure::configuration(misuse)),
            None => Ok(()),
        }
    }

    /// What matches no column of the kind or no value of a column, and what was probably meant.
    pub(super) fn problems(&self) -> Vec<String> {
        let columns = self.kind.columns();
        let mut problems = self.unlikely_formats();
        for (table, name) in self.unknown_columns(&columns) {
            problems.push(format!("{}: {}", self.unknown_column(table, name), self.meant(name, &columns)));
        }
        problems.extend(self.misuses(&columns));
        problems.extend(self.unknown_words(&columns));
        problems
    }

    fn unlikely_formats(&self) -> Vec<String> {
        let formats = self.keys.time_format.iter().filter(|format| !format.contains('%'));
        let section = &self.section;
        let problem =
            |format| format!("[{section}] time_format: `{format}` has no `%`: write one like %Y/%m/%d %H:%M");
        formats.map(problem).collect()
    }

    /// The names that the tables give to columns and that no column has. A column that does not exist is a typo, and the
    /// intended one would be looked for under its own name.
    fn unknown_columns<'m>(&'m self, columns: &[Column]) -> impl Iterator<Item = (&'static str, &'m String)> {
        let mapped = self.keys.columns.keys().map(|name| ("columns", name));
        let valued = self.keys.values.keys().map(|name| ("values", name));
        let set = self.keys.rules.iter().flat_map(|rule| rule.set.keys()).map(|name| ("rules", name));
        mapped.chain(valued).chain(set).filter(|(_, name)| find(columns, name).is_none())
    }

    fn unknown_column(&self, table: &str, name: &str) -> String {
        format!("[{}.{table}] names `{name}`, which is not a column of {}", self.section, self.kind.name())
    }

    /// What was meant by the name of a column that there is not.
    fn meant(&self, name: &str, columns: &[Column]) -> String {
        let theirs = self.keys.columns.get(name).and_then(ImportColumn::plain);
        if let Some(theirs) = theirs.filter(|theirs| find(columns, theirs).is_some()) {
            return format!("write it the other way round, {theirs} = \"{name}\"");
        }
        match nearest(name, columns.iter().map(|column| column.name)) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("the columns are {}", listed(columns)),
        }
    }

    /// What a column or a record of this kind cannot have.
    fn misuses(&self, columns: &[Column]) -> Vec<String> {
        let has_lines = columns.iter().any(|column| column.is_of_line);
        let mut misuses = Vec::new();
        for column in columns {
            if let Some(mapped) = self.keys.columns.get(column.name)
                && let Some((key, problem)) = misuse(column, mapped, has_lines)
            {
                misuses.push(format!("[{}.columns] {}: `{key}` {problem}", self.section, column.name));
            }
        }
        let section = &self.section;
        let of_lines = |key: &str| {
            format!("[{section}] `{key}` is for records of several lines, which {} are not", self.kind.name())
        };
        if self.keys.fill_down == Some(true) && !has_lines {
            misuses.push(of_lines("fill_down"));
        }
        if self.keys.lines.column.is_some() && self.kind != Kind::Orders {
            misuses.push(format!("[{section}] `lines` is for orders"));
        }
        for (role, own) in ROLE_COLUMNS {
            let words = self.keys.lines.roles().into_iter().find(|(name, _)| *name == role);
            let is_used =
                self.keys.lines.column.is_some() && words.is_some_and(|(_, words)| !words.is_empty());
            let is_set = self.keys.rules.iter().any(|rule| rule.set.contains_key(own));
            if is_used && is_set {
                misuses.push(format!(
                    "[{section}] counts {role} twice, as `{own}` of a rule and as `lines.{role}`: drop the one or the other"
                ));
            }
            if is_used && self.keys.columns.contains_key(own) {
                misuses.push(format!(
                    "[{section}] counts {role} twice, as `columns.{own}` and as `lines.{role}`: drop the column, or move the \
                     words to `lines.skip`"
                ));
            }
        }
        misuses.extend(self.multiplied_settings());
        misuses
    }

    /// What rules set an amount to that is added up over the lines of a record: it would count on each of them.
    fn multiplied_settings(&self) -> Vec<String> {
        let is_added_up = |name: &String| {
            let mapped = self.keys.columns.get(name);
            mapped.is_some_and(|column| column.per.is_some() || column.once_per.is_some())
        };
        let settings = self.keys.rules.iter().flat_map(|rule| &rule.set);
        settings
            .filter(|(name, value)| is_added_up(name) && !matches!(value.as_str(), "" | "0"))
            .map(|(name, value)| {
                format!(
                    "[{}.rules] sets `{name}` to `{value}`, but it is added up over the lines: only \"0\" or \"\" can be set for a line",
                    self.section
                )
            })
            .collect()
    }

    /// The values that a column cannot have.
    fn unknown_words(&self, columns: &[Column]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |name: &str, ours: &str, what: &dyn Fn() -> String| {
            let Some(column) = find(columns, name) else { return };
            let is_empty = ours.is_empty() && !column.is_required;
            if column.words.is_empty() || column.words.contains(&ours) || is_empty {
                return;
            }
            problems.push(format!(
                "[{}.{} `{ours}`, which is not one of {}{}",
                self.section,
                what(),
                column.words.join(", "),
                advice(ours, column.words.iter().copied())
            ));
        };
        for (name, values) in &self.keys.values {
            for (theirs, ours) in values {
                check(name, ours, &|| format!("values.{name}] maps `{theirs}` to"));
            }
        }
        for rule in &self.keys.rules {
            for (name, ours) in &rule.set {
                check(name, ours, &|| format!("rules] sets `{name}` to"));
            }
        }
        for (name, column) in &self.keys.columns {
            for ours in column.constant.iter().chain(&column.default) {
                check(name, ours, &|| format!("columns] sets `{name}` to"));
            }
            for ours in column.first_of.iter() {
                check(name, ours, &|| format!("columns] {name}: `first_of` has"));
            }
        }
        problems
    }
}

/// The roles of lines, and the column of an order that each of them is added to.
pub(super) const ROLE_COLUMNS: [(&str, &str); 5] = [
    ("shipping", "shipping_amount"),
    ("fee", "fee_amount"),
    ("discount", "discount_amount"),
    ("tax", "tax_amount"),
    ("refund", "refunded_amount"),
];

/// The key of a column that its kind of column cannot have, and why.
fn misuse(column: &Column, mapped: &ImportColumn, has_lines: bool) -> Option<(&'static str, String)> {
    let is_sum = !mapped.add.is_empty() || !mapped.subtract.is_empty();
    let is_added_up = mapped.per.is_some() || mapped.once_per.is_some();
    if is_sum && !column.is_amount() {
        return Some(("add", "is for amounts".to_owned()));
    }
    if is_added_up && (!column.is_amount() || column.is_of_line || !has_lines) {
        return Some(("per", "is for amounts of a whole order".to_owned()));
    }
    if !mapped.time_format.is_empty() && column.holds != Holds::Time {
        return Some(("time_format", "is for times".to_owned()));
    }
    if !mapped.first_of.is_empty() && (column.words.is_empty() || column.is_of_line || !has_lines) {
        return Some(("first_of", "is for the words of a whole order".to_owned()));
    }
    if mapped.computed && column.name != "total_amount" {
        return Some(("computed", "is for `total_amount`".to_owned()));
    }
    if mapped.position && column.name != "line_no" {
        return Some(("position", "is for `line_no`".to_owned()));
    }
    None
}

/// The section of this name.
fn named<'s>(
    sections: &'s ImportSections,
    kind: Kind,
    name: &str,
) -> anyhow::Result<(&'s str, &'s ImportSection)> {
    if let Some((name, section)) = sections.named.get_key_value(name) {
        return Ok((name, section));
    }
    let names: Vec<&str> = sections.named.keys().map(String::as_str).collect();
    let kind = kind.name();
    let failure = Failure::usage(format!(
        "there is no section [import.{kind}.{name}] in batchctl.toml{}",
        advice(name, names.iter().copied())
    ));
    Err(match names.as_slice() {
        [] => failure.hint(format!("without --section, [import.{kind}] is used")),
        names => failure.hint(format!("the sections of {kind} are {}", names.join(", "))),
    }
    .into())
}

/// The section of a mall: that of its name, else the one that names it.
fn of_mall<'s>(
    sections: &'s ImportSections,
    kind: Kind,
    mall: &str,
) -> anyhow::Result<Option<(&'s str, &'s ImportSection)>> {
    if let Some((name, section)) = sections.named.get_key_value(mall) {
        return Ok(Some((name, section)));
    }
    let is_of_mall = |(_, section): &(&String, &ImportSection)| section.mall.as_deref() == Some(mall);
    let of_mall: Vec<_> = sections.named.iter().filter(is_of_mall).collect();
    match of_mall.as_slice() {
        [] => Ok(None),
        [(name, section)] => Ok(Some((name, section))),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            let kind = kind.name();
            let problem =
                format!("several sections of import.{kind} are for mall `{mall}`: {}", names.join(", "));
            Err(Failure::usage(problem).hint("choose one with --section NAME").into())
        }
    }
}

/// Refuses a table of `[import]` for an unknown kind, and a preset that there is not.
pub fn check_kinds(config: &Config) -> Result<(), ConfigError> {
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let presets = presets::names();
    for (kind, sections) in config.import() {
        if !known.contains(&kind.as_str()) {
            return Err(config.unknown_key("import", kind, &known));
        }
        let is_unknown = |section: &ImportSection| {
            section.preset.clone().filter(|preset| !presets.contains(&preset.as_str()))
        };
        if let Some(preset) = is_unknown(&sections.own) {
            return Err(config.unknown_value(&["import", kind, "preset"], &preset, "a preset", &presets));
        }
        for (name, section) in &sections.named {
            if let Some(preset) = is_unknown(section) {
                let path = ["import", kind, name, "preset"];
                return Err(config.unknown_value(&path, &preset, "a preset", &presets));
            }
        }
    }
    Ok(())
}

/// What is suspicious in `[import]` of the configuration, for `config check`. The malls are not looked up.
pub fn mapping_problems(cx: &Context) -> Vec<String> {
    let mut problems = Vec::new();
    for kind in Kind::ALL {
        let Some(sections) = cx.config.import_sections(kind.name()) else { continue };
        let named = sections.named.keys().map(|name| Some(name.as_str()));
        for section in std::iter::once(None).chain(named) {
            match Mapping::choose(&cx.config, *kind, Choice { section, ..Choice::default() }) {
                Ok(mapping) => problems.extend(mapping.problems()),
                Err(error) => problems.push(format!("[import.{}] {error}", kind.name())),
            }
        }
    }
    problems
}

fn find<'c>(columns: &'c [Column], name: &str) -> Option<&'c Column> {
    columns.iter().find(|column| column.name == name)
}

fn listed(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::config::LoadOptions;

    use super::*;

    #[test]
    fn a_table_for_a_kind_that_there_is_not_is_refused_with_its_line() {
        let check = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("batchctl.toml"), text).unwrap();
            let options = LoadOptions {
                env_flag: None,
                working_dir: folder.path().to_owned(),
                process_env: std::collections::BTreeMap::new(),
                full_paths: false,
            };
            check_kinds(&Config::load(options).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(
            check("[import.order]\nmall = \"main\""),
            Err("batchctl.toml line 1: unknown key `order` in `import`: did you mean `orders`?".to_owned())
        );
        assert_eq!(check("[import.orders]\nmall = \"main\"\n[import.consents]"), Ok(()));
    }

    #[test]
    fn a_mapping_that_fits_no_column_or_word_is_named_with_what_was_meant() {
        let file: ImportSection = toml::from_str(
            "time_format = 'YYYY/MM/DD'\n[columns]\n'注文番号' = 'order_no'\norder_nr = '番号'\nstatus = '状態'\n\
             [values.status]\n'済' = 'PAYED'\n'発送' = 'SHIPPED'\n[values.zzz]\na = 'b'",
        )
        .unwrap();
        let problems = Mapping::plain(Kind::Orders, file).problems();
        assert_eq!(
            [&problems[..3], &problems[4..]].concat(),
            [
                "[import.orders] time_format: `YYYY/MM/DD` has no `%`: write one like %Y/%m/%d %H:%M",
                "[import.orders.columns] names `order_nr`, which is not a column of orders: did you mean `order_no`?",
                "[import.orders.columns] names `注文番号`, which is not a column of orders: write it the other way \
                 round, order_no = \"注文番号\"",
                "[import.orders.values.status] maps `済` to `PAYED`, which is not one of PAYMENT_WAIT, PAID, \
                 SHIPPED, DELIVERED, ORDER_CANCELLED, REFUNDED: did you mean `PAID`?",
            ]
        );
        assert!(problems[3].starts_with(
            "[import.orders.values] names `zzz`, which is not a column of orders: the columns are mall, order_no"
        ));
    }

    #[test]
    fn the_words_of_every_column_are_known_and_an_optional_one_may_be_made_empty() {
        let file: ImportSection =
            toml::from_str("[values.granted]\n'可' = 'ja'\n[values.purpose]\n'広告' = ''\n").unwrap();
        assert_eq!(
            Mapping::plain(Kind::Consents, file).problems(),
            [
                "[import.consents.values.granted] maps `可` to `ja`, which is not one of yes, no",
                "[import.consents.values.purpose] maps `広告` to ``, which is not one of MARKETING, DIGEST",
            ]
        );
        let file: ImportSection = toml::from_str("[values.purchased]\n'-' = ''\n'済' = 'yes'").unwrap();
        assert_eq!(Mapping::plain(Kind::Carts, file).problems(), Vec::<String>::new());
    }
}
