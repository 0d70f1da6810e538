//! TOML values as JSON, which is what the declaration is read from wherever it comes from.

use serde_json::{Map, Number, Value};
use toml_edit::{Item, TableLike};

/// The value of a key, or `None` for one that holds none.
pub(crate) fn json(item: &Item) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(of_value(value)),
        Item::Table(table) => Some(of_table(table)),
        Item::ArrayOfTables(tables) => {
            Some(Value::Array(tables.iter().map(|table| of_table(table)).collect()))
        }
    }
}

fn of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Number((*number.value()).into()),
        // JSON has no infinity: it is passed on as text, and refused with that text.
        toml_edit::Value::Float(number) => Number::from_f64(*number.value())
            .map_or_else(|| Value::String(number.value().to_string()), Value::Number),
        toml_edit::Value::Boolean(truth) => Value::Bool(*truth.value()),
        toml_edit::Value::Datetime(moment) => Value::String(moment.value().to_string()),
        toml_edit::Value::Array(items) => Value::Array(items.iter().map(of_value).collect()),
        toml_edit::Value::InlineTable(table) => of_table(table),
    }
}

fn of_table(table: &dyn TableLike) -> Value {
    let pairs = table.iter().filter_map(|(key, item)| Some((key.to_owned(), json(item)?)));
    Value::Object(pairs.collect::<Map<_, _>>())
}
