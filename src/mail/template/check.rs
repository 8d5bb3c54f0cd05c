//! Checks whether a template can fail to render, or can produce a mail that must not be sent.
//!
//! Two methods, because neither finds everything: the variables that the text names, in any branch, are compared with
//! the sample's; and the sample is rendered again with each value that a branch may depend on inverted.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::failure::one_line;
use crate::locale::Locale;
use crate::mail::advertising;
use crate::spelling;

use super::{Category, FrontMatter, Prepared, SUBJECT, Templates, filters};

/// Gmail clips a mail after 102 KB.
const MAX_HTML_BYTES: usize = 100 * 1024;

/// A variable that a template names and its data does not have.
pub(super) struct UnknownVariable {
    /// Its dotted path.
    pub(super) path: String,
    /// The path that was most likely meant.
    meant: Option<String>,
}

impl UnknownVariable {
    /// What was meant, as a question between two texts; with `instead` it names the wrong path again. Empty if nothing is
    /// similar.
    pub(super) fn advice(&self, before: &str, instead: &str, after: &str) -> String {
        let Some(meant) = &self.meant else { return String::new() };
        let instead = if instead.is_empty() { String::new() } else { format!("{instead} `{}`", self.path) };
        format!("{before}did you mean `{meant}`{instead}{after}")
    }
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingLevel {
    /// A mail could not be rendered, or must not be sent.
    Error,
    /// A mail would differ from what was asked for.
    Warning,
}

/// Something that `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub level: FindingLevel,
    /// The file, the line and the problem.
    pub message: String,
}

impl Finding {
    fn error(message: String) -> Self {
        Self { level: FindingLevel::Error, message }
    }

    fn warning(message: String) -> Self {
        Self { level: FindingLevel::Warning, message }
    }
}

impl Templates {
    /// Checks the templates of these names, or all, in every language.
    pub fn check(&self, names: &[String]) -> anyhow::Result<Vec<Finding>> {
        let known = self.names()?;
        if let Some(unknown) = names.iter().find(|name| !known.contains(*name)) {
            return Err(self.unknown(unknown));
        }
        let mut findings = Vec::new();
        for name in known.iter().filter(|name| names.is_empty() || names.contains(*name)) {
            let mut categories = BTreeSet::new();
            for locale in Locale::ALL {
                match self.prepare(name, locale) {
                    Ok(Some(prepared)) => {
                        categories.insert(prepared.front_matter.category.word());
                        findings.extend(self.check_one(name, locale, &prepared));
                    }
                    Ok(None) if self.read(&format!("{name}.{locale}.html"))?.is_some() => {
                        let html = self.shown(&format!("{name}.{locale}.html"));
                        findings.push(Finding::error(format!(
                            "{html} has no text part: add {name}.{locale}.txt"
                        )));
                    }
                    Ok(None) => findings.push(Finding::warning(format!(
                        "{name} has no text in `{locale}`: its mails fall back to another language"
                    ))),
                    Err(error) => findings.push(Finding::error(one_line(&error))),
                }
            }
            if categories.len() > 1 {
                findings.push(Finding::error(format!(
                    "{name} is marketing in one language and transactional in another"
                )));
            }
        }
        let mut seen = BTreeSet::new();
        findings.retain(|finding| seen.insert(finding.message.clone()));
        Ok(findings)
    }

    fn check_one(&self, name: &str, locale: Locale, prepared: &Prepared) -> Vec<Finding> {
        let sample = sample_data(&prepared.front_matter);
        let mut findings = self.misspelt(name, locale, prepared, &sample);
        if !findings.is_empty() {
            return findings;
        }
        let mut samples = vec![sample.clone()];
        samples.extend(variants(&sample, &prepared.front_matter.optional));
        for shop in shops() {
            let mut variant = sample.clone();
            variant["shop"] = shop;
            samples.push(variant);
        }
        for data in &samples {
            let variables = self.variables(prepared.front_matter.category, locale, data);
            match self.render_prepared(name, locale, prepared, &variables) {
                Ok(mail) => {
                    if let Some(html) = &mail.html
                        && html.len() > MAX_HTML_BYTES
                    {
                        findings.push(Finding::warning(format!(
                            "{} renders to {} KB of HTML: Gmail clips a mail after 102 KB",
                            self.shown(&format!("{name}.{locale}.html")),
                            html.len() / 1024
                        )));
                    }
                    if prepared.front_matter.category == Category::Marketing {
                        findings.extend(self.missing_unsubscribe_links(&mail, data));
                    }
                }
                Err(error) => findings.push(Finding::error(one_line(&error))),
            }
        }
        findings
    }

    /// The variables that a template names and its sample does not have, even in branches that the sample does not take.
    fn misspelt(&self, name: &str, locale: Locale, prepared: &Prepared, sample: &Value) -> Vec<Finding> {
        let mut known = self.globals.clone();
        known.insert("locale".to_owned(), json!(locale));
        known.insert("category".to_owned(), json!(prepared.front_matter.category));
        if let Value::Object(sample) = sample {
            known.extend(sample.clone());
        }
        let text_file = format!("{name}.{locale}.txt");
        let mut files = vec![format!("{text_file}{SUBJECT}"), text_file];
        if prepared.has_html {
            files.push(format!("{name}.{locale}.html"));
        }
        let mut findings = Vec::new();
        for file in files {
            let template = match self.environment.get_template(&file) {
                Ok(template) => template,
                Err(error) => {
                    let problem = self.problem(&error, &minijinja::Value::UNDEFINED);
                    findings.push(Finding::error(problem.message));
                    continue;
                }
            };
            for unknown in self.unknown_variables(&template, known.clone()) {
                let path = &unknown.path;
                let line =
                    template.source().lines().position(|line| names(line, path)).map_or(1, |line| line + 1);
                findings.push(Finding::error(format!(
                    "{} line {line}: unknown variable `{path}`: the sample does not have it{}",
                    self.shown(&file),
                    unknown.advice("; ", "", "?")
                )));
            }
        }
        findings
    }

    /// The variables that a template names, in any branch, and the data does not have, in the order of their names.
    pub(super) fn unknown_variables(
        &self,
        template: &minijinja::Template<'_, '_>,
        mut known: Map<String, Value>,
    ) -> Vec<UnknownVariable> {
        for (function, _) in self.environment.globals() {
            known.entry(function).or_insert(Value::Null);
        }
        let named: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
        let unknown = named.into_iter().filter(|path| !is_known(&known, path));
        unknown.map(|path| UnknownVariable { meant: meant(&known, &path), path }).collect()
    }

    /// What an advertisement lacks: the mark in its subject, and how to unsubscribe in each part.
    fn missing_unsubscribe_links(&self, mail: &super::RenderedMail, data: &Value) -> Vec<Finding> {
        let file = |extension: &str| self.shown(&format!("{}.{}.{extension}", mail.name, mail.locale));
        let Some(url) = data.get("unsubscribe_url").and_then(Value::as_str) else {
            return vec![Finding::error(format!(
                "{} is marketing: its sample needs an `unsubscribe_url` and its text has to show it",
                file("txt")
            ))];
        };
        let subject = advertising::subject_problem(mail.locale, &mail.subject);
        let refusal = advertising::refusal_problem(mail.locale, &mail.text);
        let problems = subject.into_iter().chain(refusal);
        let mut findings: Vec<Finding> =
            problems.map(|problem| Finding::error(format!("{}: {problem}", file("txt")))).collect();
        let mut missing = |extension: &str| {
            findings.push(Finding::error(format!(
                "{} is marketing and does not show `unsubscribe_url`: include `_footer.{}.{extension}`",
                file(extension),
                mail.locale
            )));
        };
        if !mail.text.contains(url) {
            missing("txt");
        }
        if mail.html.as_ref().is_some_and(|html| !html.contains(filters::escaped(url).as_ref())) {
            missing("html");
        }
        findings
    }
}

/// The path that was most likely meant: the first name in it that nothing has, replaced by a similar one beside it.
fn meant(known: &Map<String, Value>, path: &str) -> Option<String> {
    let (mut fields, mut before) = (known, String::new());
    for key in path.split('.') {
        match fields.get(key) {
            Some(Value::Object(inner)) => {
                before.push_str(&format!("{key}."));
                fields = inner;
            }
            Some(_) => return None,
            None => {
                let similar = spelling::nearest(key, fields.keys().map(String::as_str))?;
                return Some(format!("{before}{similar}"));
            }
        }
    }
    None
}

/// Whether a dotted path leads to a value of the sample.
fn is_known(known: &Map<String, Value>, path: &str) -> bool {
    let mut keys = path.split('.');
    let Some(mut value) = keys.next().and_then(|key| known.get(key)) else { return false };
    for key in keys {
        match value.get(key) {
            Some(inner) => value = inner,
            None => return false,
        }
    }
    true
}

/// Whether a line contains a variable's name as a whole word.
pub(super) fn names(line: &str, path: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| is_word(before) || before == '.')
            && !line[at + path.len()..].starts_with(is_word)
    })
}

/// Variants of the sample with one value changed in each: null if optional, a boolean inverted, a number zero; and one
/// variant in which all optional values are null.
fn variants(sample: &Value, optional: &[String]) -> Vec<Value> {
    let mut variants = Vec::new();
    let mut barest = sample.clone();
    for path in optional {
        let keys: Vec<&str> = path.split('.').collect();
        let mut without = sample.clone();
        set(&mut without, &keys, &|_| Some(Value::Null));
        set(&mut barest, &keys, &|_| Some(Value::Null));
        variants.push(without);
    }
    variants.push(barest);
    let mut paths = BTreeSet::new();
    leaves(sample, &mut Vec::new(), &mut paths);
    for path in paths {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut other = sample.clone();
        set(&mut other, &keys, &|value| match value {
            Value::Bool(truth) => Some(Value::Bool(!truth)),
            Value::Number(_) => Some(json!(0)),
            _ => None,
        });
        if other != *sample {
            variants.push(other);
        }
    }
    variants
}

/// The paths of all leaf values; the items of a list share one path.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                path.push(key.clone());
                leaves(inner, path, found);
                path.pop();
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
        _ => {
            found.insert(path.clone());
        }
    }
}

/// Changes the values at a path, in every item of a list on the way.
fn set(value: &mut Value, path: &[&str], change: &dyn Fn(&Value) -> Option<Value>) {
    match (value, path) {
        (value, []) => {
            if let Some(changed) = change(value) {
                *value = changed;
            }
        }
        (Value::Array(items), path) => items.iter_mut().for_each(|item| set(item, path, change)),
        (Value::Object(fields), [key, rest @ ..]) => {
            if let Some(inner) = fields.get_mut(*key) {
                set(inner, rest, change);
            }
        }
        _ => {}
    }
}

/// A shop without any settings, and one with all of them.
fn shops() -> [Value; 2] {
    [
        json!({ "name": null, "url": null, "address": null, "phone": null, "support": null }),
        json!({
            "name": "Shop", "url": "https://shop.example.com", "address": "1 Example Street, Tokyo",
            "phone": "02-1234-5678",
            "support": "support@shop.example.com",
        }),
    ]
}

/// The sample's values, and null for optional values that it does not have.
pub(super) fn sample_data(front_matter: &FrontMatter) -> Value {
    let mut data = json_of(&toml::Value::Table(front_matter.sample.clone()));
    for path in &front_matter.optional {
        let keys: Vec<&str> = path.split('.').collect();
        fill_with_null(&mut data, &keys);
    }
    data
}

fn fill_with_null(data: &mut Value, path: &[&str]) {
    match (data, path) {
        (Value::Array(items), _) => items.iter_mut().for_each(|item| fill_with_null(item, path)),
        (Value::Object(fields), [key]) => {
            fields.entry(*key).or_insert(Value::Null);
        }
        (Value::Object(fields), [key, rest @ ..]) => {
            if let Some(inner) = fields.get_mut(*key) {
                fill_with_null(inner, rest);
            }
        }
        _ => {}
    }
}

/// TOML as JSON: dates become texts, as producers write them.
fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json_of).collect(),
        toml::Value::Table(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), json_of(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
