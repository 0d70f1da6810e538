//! How an answer is printed.

use std::fmt;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text(Width),
    /// For programs.
    Data(Data),
}

/// How wide tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// As the terminal: columns of little weight are left out where there is no room.
    Fitted,
    /// As they are.
    Whole,
}

/// What programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names alone, one on each line.
    Name,
}

impl Format {
    /// What programs read, if that is wanted.
    pub(crate) fn data(self) -> Option<Data> {
        match self {
            Format::Text(_) => None,
            Format::Data(data) => Some(data),
        }
    }
}

impl Default for Format {
    fn default() -> Format {
        Format::Text(Width::Fitted)
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Format] {
        &[
            Format::Text(Width::Fitted),
            Format::Text(Width::Whole),
            Format::Data(Data::Json),
            Format::Data(Data::Yaml),
            Format::Data(Data::Name),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Format::Text(Width::Fitted) => ("table", "For people, as wide as the terminal"),
            Format::Text(Width::Whole) => ("wide", "For people, with every column"),
            Format::Data(Data::Json) => ("json", "For programs"),
            Format::Data(Data::Yaml) => ("yaml", "The same as YAML"),
            Format::Data(Data::Name) => ("name", "Names alone, for other verbs"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}
