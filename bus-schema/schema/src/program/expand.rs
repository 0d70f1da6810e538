//! `%(name)s` in values, as Supervisor expands them (its manual, "Environment Variables" and
//! "`[program:x]`"): any printf width works, such as `%(process_num)02d`. Unlike Supervisor, a `%`
//! that begins no expansion stays as it is, and `%%(` is a literal `%(`.

use std::collections::BTreeMap;

/// Names that may be expanded besides `ENV_X`, which is the variable `X` of the worker or of the
/// program's own `environment`.
pub const VARIABLES: &[&str] =
    &["group_name", "host_node_name", "numprocs", "process_num", "program_name", "worker"];

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// Longest width that is padded to; more is a mistake.
const WIDTH_MAX: usize = 100;
/// Longest name; no variable is longer that anybody asks for, and errors quote it.
const NAME_MAX: usize = 256;

/// Replaces every expansion.
///
/// # Errors
/// When a name is not known, or the form is not `%(name)s` or `%(name)d` with an optional width. It
/// quotes the name, and nothing else of the text, which may be the value of a variable.
pub fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    replace(text, |name| {
        variables.get(name).cloned().ok_or_else(|| match name.strip_prefix("ENV_") {
            Some(variable) => format!("the worker has no variable {variable} in its environment"),
            None => unknown(name),
        })
    })
}

/// Whether `text` can be expanded on a worker whose environment has all that it asks for.
///
/// # Errors
/// As [`expand`].
pub fn check(text: &str) -> Result<(), String> {
    let known = |name: &str| match name {
        _ if name.starts_with("ENV_") || VARIABLES.contains(&name) => Ok("1".to_owned()),
        _ => Err(unknown(name)),
    };
    replace(text, known).map(drop)
}

/// Whether `text` asks for `name`.
pub(super) fn asks_for(text: &str, name: &str) -> bool {
    let mut asked = false;
    let _ = replace(text, |found| {
        asked |= found == name;
        Ok("1".to_owned())
    });
    asked
}

/// Whether `text` differs from one copy to the next.
pub fn names_the_copy(text: &str) -> bool {
    text.contains("%(process_num)")
}

/// Whether an error may quote what stands in the parentheses. Anything else may be a piece of a value
/// that is nobody's business, such as a password with `%(` in it.
fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=NAME_MAX).contains(&text.len()) && text.chars().all(fine)
}

fn unknown(name: &str) -> String {
    format!("%({name}) is not known here; known are {} and ENV_NAME", VARIABLES.join(", "))
}

fn replace(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("%(") {
        if rest[..at].ends_with('%') {
            out.push_str(&rest[..at - 1]);
            out.push_str("%(");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let (name, after) =
            rest[at + 2..].split_once(')').filter(|(name, _)| is_name(name)).ok_or_else(|| {
                let before = &text[..text.len() - rest.len() + at];
                let place = before.chars().count() + 1;
                format!("%( at character {place} begins no %(name)s; %%( is a literal %(")
            })?;
        let end = after
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(|| format!("%({name}) needs an s or d behind it"))?;
        let (flags, conversion) = (&after[..end], &after[end..=end]);
        out.push_str(&format(name, flags, conversion, &value(name)?)?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn format(name: &str, flags: &str, conversion: &str, value: &str) -> Result<String, String> {
    let wrong = || format!("%({name}) has no form that is known behind it; use s or 02d");
    let left = flags.starts_with('-');
    let digits = flags.strip_prefix('-').unwrap_or(flags);
    let width: usize = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| wrong())? };
    if width > WIDTH_MAX {
        return Err(wrong());
    }
    match conversion {
        "s" if left => Ok(format!("{value:<width$}")),
        "s" => Ok(format!("{value:>width$}")),
        "d" | "i" | "u" => {
            let number: i64 = value.parse().map_err(|_| wrong())?;
            Ok(match (left, digits.starts_with('0')) {
                (true, _) => format!("{number:<width$}"),
                (false, true) => format!("{number:0width$}"),
                (false, false) => format!("{number:width$}"),
            })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_printf_does() {
        let variables: Variables =
            [("process_num", "7"), ("program_name", "web"), ("ENV_A", "x y")]
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
        for (text, expanded) in [
            ("%(program_name)s_%(process_num)02d", "web_07"),
            ("%(process_num)d|%(process_num)3d|%(process_num)-3d|%(process_num)s", "7|  7|7  |7"),
            ("%(program_name)5s|%(program_name)-5s|", "  web|web  |"),
            ("date +%Y-%m; 100% %%(x)s %", "date +%Y-%m; 100% %(x)s %"),
            ("a %(ENV_A)s b", "a x y b"),
        ] {
            assert_eq!(expand(text, &variables).as_deref(), Ok(expanded), "{text}");
        }
        for bad in [
            "%(nobody)s",
            "%(program_name",
            "%(program_name)",
            "%(program_name)d",
            "%(process_num)q",
            "%(process_num)9999d",
            "%(ENV_NONE)s",
        ] {
            assert!(expand(bad, &variables).is_err(), "{bad}");
        }
        assert!(check("%(ENV_NONE)s %(process_num)02d").is_ok());
        for hidden in ["ö%(hunter2", "ö%(hun ter2)s", "ö%(worker)hunter2", "ö%(worker)2-hunter"]
        {
            let why = check(hidden).err().unwrap_or_default();
            assert!(!why.contains("ter2") && !why.contains("2-h"), "{hidden}: {why}");
        }
        assert!(check("ö%(hunter2").unwrap_err().starts_with("%( at character 2 begins no"));
        assert!(check("%(here)s").unwrap_err().contains("known are"));
    }
}
