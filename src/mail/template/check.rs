//! Whether a template could ever fail to render.

use serde_json::Value;

use super::FrontMatter;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// A mail would not be made, or must not be.
    Error,
    /// A mail would be made otherwise than asked for.
    Warning,
}

/// Something that `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub gravity: Gravity,
    /// In which file, on which line, what.
    pub message: String,
}

/// The sample's values, and null for what may be missing and is not there.
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

/// TOML as JSON: its dates become texts, as producers write them.
fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json_of).collect(),
        toml::Value::Table(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), json_of(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}
