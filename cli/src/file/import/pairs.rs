//! `K="v",K2=v2`, as Supervisor reads it with Python's `shlex`.

/// What may stand in a word besides letters and digits. `%` stands for what Supervisor has put there
/// before it reads.
const WORD: &str = "_/.+-():%";

/// Reads pairs.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let tokens = tokens(text)?;
    let mut pairs = Vec::new();
    // The token after each pair separates it from the next one, whatever it is.
    for chunk in tokens.chunks(4) {
        let [key, equals, value, ..] = chunk else { return Err(unfinished(&chunk.join(""))) };
        if equals != "=" {
            return Err(unfinished(&chunk.join("")));
        }
        pairs.push((key.clone(), value.trim_matches(['\'', '"']).to_owned()));
    }
    Ok(pairs)
}

fn unfinished(near: &str) -> String {
    format!("expected KEY=\"value\" with commas between, found {near:?}")
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => drop(chars.by_ref().find(|c| *c == '\n')),
            '\'' | '"' => {
                let mut token = String::from(c);
                loop {
                    let next = chars.next().ok_or_else(|| format!("{token} is not closed"))?;
                    token.push(next);
                    if next == c {
                        break;
                    }
                }
                tokens.push(token);
            }
            c if is_word(c) => {
                let mut token = String::from(c);
                // A quote inside of a word is a part of it.
                while let Some(next) = chars.next_if(|c| is_word(*c) || matches!(c, '\'' | '"')) {
                    token.push(next);
                }
                tokens.push(token);
            }
            other => tokens.push(other.to_string()),
        }
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || WORD.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_supervisor_reads_them() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        for (text, pairs) in [
            ("", vec![]),
            ("A=1", vec![pair("A", "1")]),
            ("A=\"x, y\",B='z'", vec![pair("A", "x, y"), pair("B", "z")]),
            ("A=\"1\",\nB=\"2\",", vec![pair("A", "1"), pair("B", "2")]),
            ("PATH=/a/b:/c,N=-1.5", vec![pair("PATH", "/a/b:/c"), pair("N", "-1.5")]),
            ("A=\"it's\"", vec![pair("A", "it's")]),
            ("H=%(ENV_HOME)s/x", vec![pair("H", "%(ENV_HOME)s/x")]),
            ("A=\"\"", vec![pair("A", "")]),
        ] {
            assert_eq!(read(text), Ok(pairs), "{text}");
        }
        for bad in ["A", "A=", "=1", "A=b@c,D=e", "A=\"x", "A=1 B=2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
