//! `%(name)s`, as Supervisor expands it by Python's `%`: some is known when the file is read, some only
//! on the worker.

use dsbus_schema::program::expand;

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%(name)` and what follows it, such as `02d`.
    Name(String, String),
}

/// The value as a worker expands it: what `known` gives is put in, everything else is left.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn later(text: &str, known: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    for part in parts(text)? {
        match part {
            Part::Text(text) => out.push_str(&escaped(&text)),
            Part::Name(name, form) => match known(&name) {
                Some(value) => out.push_str(&escaped(&formatted(&name, &form, value)?)),
                None => out.extend(["%(", &name, ")", &form]),
            },
        }
    }
    expand::check(&out)?;
    Ok(out)
}

/// The value with everything put in.
///
/// # Errors
/// A sentence that says what is wrong, or not known.
pub(super) fn now(text: &str, known: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    for part in parts(text)? {
        match part {
            Part::Text(text) => out.push_str(&text),
            Part::Name(name, form) => {
                let value = known(&name).ok_or_else(|| match name.strip_prefix("ENV_") {
                    Some(variable) => format!(
                        "{variable} is not set here, and must be known now: set it, and read the file again"
                    ),
                    None => format!("%({name}) is not known here"),
                })?;
                out.push_str(&formatted(&name, &form, value)?);
            }
        }
    }
    Ok(out)
}

/// A `%(` that is none of ours is written `%%(` where a worker expands.
fn escaped(text: &str) -> String {
    text.replace("%(", "%%(")
}

fn formatted(name: &str, form: &str, value: String) -> Result<String, String> {
    let variables = [(name.to_owned(), value)].into_iter().collect();
    expand::expand(&format!("%({name}){form}"), &variables)
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            plain.push('%');
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        else {
            let near: String = rest.chars().take(8).collect();
            return Err(format!("%{near} is no expansion; a literal % is written %%"));
        };
        let end = after
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(|| format!("%({name}) needs an s or d behind it"))?;
        parts.push(Part::Text(std::mem::take(&mut plain)));
        parts.push(Part::Name(name.to_owned(), after[..=end].to_owned()));
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        (name == "ENV_A").then(|| "x%(y".to_owned())
    }

    #[test]
    fn what_is_known_later_is_left() {
        for (text, is) in [
            ("a 100%% b", "a 100% b"),
            ("date +%%Y", "date +%Y"),
            ("%%(program_name)s", "%%(program_name)s"),
            ("%(program_name)s_%(process_num)02d", "%(program_name)s_%(process_num)02d"),
            ("[%(ENV_A)s]", "[x%%(y]"),
            ("%(ENV_B)s", "%(ENV_B)s"),
        ] {
            assert_eq!(later(text, known).as_deref(), Ok(is), "{text}");
        }
        for bad in ["date +%Y", "100%", "%(nobody)s", "%(process_num)", "%(process_num)q"] {
            assert!(later(bad, known).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_must_be_known_now_is_put_in() {
        assert_eq!(now("[%(ENV_A)s] 5%%", known).as_deref(), Ok("[x%(y] 5%"));
        assert!(now("%(ENV_B)s", known).unwrap_err().contains("B is not set"));
        assert!(now("%(process_num)d", known).is_err());
    }
}
