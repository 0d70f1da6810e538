//! What a person means by NAME.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use wildmatch::WildMatch;

use super::{InstanceId, NAME_LEN_MAX, ProgramId, ProgramName};

/// Longest pattern, in characters: two names and a colon.
const PATTERN_LEN_MAX: usize = 2 * NAME_LEN_MAX + 1;

/// What a person means by NAME on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `all`: every program.
    All,
    /// `web`: every instance of it; or a group.
    Program(ProgramName),
    /// `web:0`.
    Instance(InstanceId),
    /// The program with this UUID.
    Id(ProgramId),
    /// `web*`, `shop:*`, `shop:web_00`.
    Copies(Copies),
}

/// Programs and groups by a pattern, and which of their copies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copies {
    /// Of the names of programs or groups.
    of: String,
    /// Of what a copy is called: its index, or the name that the program gives it (Supervisor's
    /// process name).
    copies: Option<String>,
}

impl Copies {
    /// Reads `PATTERN` or `PATTERN:PATTERN`, in which `*` is anything and `?` one character.
    ///
    /// # Errors
    /// A sentence that says what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Copies, String> {
        let refuse = |why: &str| Err(format!("name {text:?} {why}"));
        if text.chars().count() > PATTERN_LEN_MAX {
            return refuse("is too long");
        }
        let (of, copies) = match text.split_once(':') {
            Some((of, copies)) => (of, Some(copies)),
            None => (text, None),
        };
        let of_name = |b: u8| b.is_ascii_alphanumeric() || b"_-*?".contains(&b);
        if of.is_empty() || !of.bytes().all(of_name) {
            return refuse("may hold only letters, digits, _ and -, and the wildcards * and ?");
        }
        // Supervisor's rule for every name of a process.
        let strange = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/';
        if copies.is_some_and(|copies| copies.is_empty() || copies.contains(strange)) {
            return refuse("needs a copy after its colon, as in web:0, web:web_00 or web:*");
        }
        Ok(Copies { of: of.to_owned(), copies: copies.map(str::to_owned) })
    }

    /// Whether it means programs or groups of this name.
    pub fn fits(&self, name: &str) -> bool {
        WildMatch::new(&self.of).matches(name)
    }

    /// Whether it means every copy of them.
    pub fn all(&self) -> bool {
        self.copies.as_deref().is_none_or(|copies| copies == "*")
    }

    /// Whether it means the copy of this index, which its program calls `process`.
    pub fn fits_copy(&self, index: u32, process: &str) -> bool {
        let fits = |copies: &str| {
            let copies = WildMatch::new(copies);
            copies.matches(&index.to_string()) || copies.matches(process)
        };
        self.copies.as_deref().is_none_or(fits)
    }

    /// Whether it has no wildcard, and so one copy is meant.
    pub fn is_name(&self) -> bool {
        !self.to_string().contains(['*', '?'])
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of)?;
        self.copies.as_ref().map_or(Ok(()), |copies| write!(f, ":{copies}"))
    }
}

impl Target {
    /// Reads NAME: `all`, `web`, `web:0`, `web:web_00`, `shop:*`, `web*` or a UUID.
    ///
    /// # Errors
    /// A sentence that says what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Target, String> {
        if text == "all" {
            return Ok(Target::All);
        }
        if text.len() == 36
            && let Ok(id) = Uuid::parse_str(text)
        {
            return Ok(Target::Id(ProgramId(id)));
        }
        if text.contains(['*', '?']) {
            return Copies::parse(text).map(Target::Copies);
        }
        match text.split_once(':') {
            None => ProgramName::parse(text).map(Target::Program).map_err(|e| e.to_string()),
            Some((program, index)) => {
                let program = ProgramName::parse(program).map_err(|e| e.to_string())?;
                let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
                match index.parse() {
                    Ok(index) if digits => Ok(Target::Instance(InstanceId { program, index })),
                    _ => Copies::parse(text).map(Target::Copies),
                }
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::All => f.write_str("all"),
            Target::Program(program) => program.fmt(f),
            Target::Instance(instance) => instance.fmt(f),
            Target::Id(id) => id.fmt(f),
            Target::Copies(copies) => copies.fmt(f),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Target::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A name or a pattern, and then perhaps a copy, whose characters are those of `Copies::parse`.
        let of = "[A-Za-z0-9-][A-Za-z0-9_-]{0,63}|[A-Za-z0-9_-]*[*?][A-Za-z0-9_*?-]*";
        let copy = r"[^\s:/\u0000-\u001f\u007f-\u009f]+";
        json_schema!({
            "type": "string",
            "maxLength": PATTERN_LEN_MAX,
            "pattern": format!("^({of})(:{copy})?$"),
            "description": "all, a program or a group, an instance (web:0, web:web_00), a pattern \
                            (web*, shop:*), or a program's UUID"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let web = ProgramName::parse("web").unwrap();
        let id = ProgramId(Uuid::from_u128(7));
        assert_eq!(Target::parse("all"), Ok(Target::All));
        assert_eq!(Target::parse("web"), Ok(Target::Program(web.clone())));
        assert_eq!(Target::parse("web:3"), Ok(Target::Instance(InstanceId::new(web, 3))));
        assert_eq!(Target::parse(&id.to_string()), Ok(Target::Id(id)));
        for pattern in ["web*", "*", "we?:*", "web:web_00", "shop:a.b@c", "web:99999999999"] {
            let target = Target::parse(pattern);
            assert!(matches!(target, Ok(Target::Copies(_))), "{pattern}: {target:?}");
            assert_eq!(target.map(|target| target.to_string()), Ok(pattern.to_owned()));
        }
        for bad in ["web:", ":0", ":*", "web:0:1", "web:a/b", "w*b:a b", "we.b*", ""] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_schema_says_what_can_be_read() {
        let schema = serde_json::to_value(schemars::schema_for!(Target)).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let (most, copies) = ("x".repeat(NAME_LEN_MAX), "ü".repeat(NAME_LEN_MAX));
        let id = ProgramId(Uuid::from_u128(7)).to_string();
        let pairs = [format!("{most}:{copies}"), format!("{most}:{copies}x"), format!("{most}x")];
        for text in ["all", "web", "-x", "_x", "web:3", "web*", "_*", "*", "we?:*", "web:web_00"]
            .into_iter()
            .chain(["shop:a.b@c", "web:ü", "*:ü", "", "web:", ":0", ":*", "a:0:1", "web:a/b", "ü"])
            .chain(["w*b:a b", "web:a\u{a0}b", "web:\u{7f}", "web:\u{85}", "we.b*", "w b", "web\n"])
            .chain([id.as_str(), &most, &pairs[0], &pairs[1], &pairs[2]])
        {
            assert_eq!(validator.is_valid(&text.into()), Target::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn copies_are_meant_by_index_or_by_name() {
        let copies = |text: &str| Copies::parse(text).unwrap();
        assert!(copies("we*").fits("web") && !copies("we*").fits("api"));
        assert!(copies("web:web_0?").fits_copy(7, "web_07"));
        assert!(copies("web:1*").fits_copy(12, "web_12"));
        assert!(!copies("web:web_07").fits_copy(6, "web_06"));
        assert!(copies("web").all() && copies("web:*").all() && !copies("web:1").all());
    }
}
