//! Files of `NAME=value` lines, as container engines and systemd read them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::files::{open_trusted, regular};

/// Longest file; the kernel gives no process a greater environment by default (a quarter of an
/// 8 MiB stack).
const BYTES_MAX: u64 = 2 << 20;

/// Reads a file. It is opened by the worker, with its rights, so by no link of a stranger's.
///
/// # Errors
/// A sentence that names the file, and the number of the line that is wrong; nothing of what is in it,
/// which viewers of events may not see.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |why: String| format!("env_file {}: {why}", path.display());
    let opened = open_trusted(path, File::options().read(true)).and_then(regular);
    let file = opened.map_err(|e| match (e.raw_os_error(), e.kind()) {
        (_, ErrorKind::NotFound) => failed("does not exist".to_owned()),
        (Some(libc::ENXIO), _) => failed("is no regular file".to_owned()),
        _ => failed(e.to_string()),
    })?;
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| failed(e.to_string()))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(failed(format!("is longer than {BYTES_MAX} bytes")));
    }
    parse(&text).map_err(failed)
}

/// A value ends with its line, unless it is in quotes. In single quotes everything stays as it is;
/// in double quotes a backslash before `"`, `\`, `$` or a backquote is taken away, `\n` is a new
/// line, and a backslash at the end of a line continues it. Without quotes a `#` after a blank
/// begins a comment.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    let line_of = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(found);
        }
        if rest.starts_with(['#', ';']) {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let line = line_of(rest);
        let wrong = |what: &str| format!("line {line}: {what}");
        let end = rest.find(['=', '\n']).filter(|end| rest[*end..].starts_with('='));
        let end = end.ok_or_else(|| wrong("expected NAME=value"))?;
        let name = rest[..end].trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        let fine = |c: char| !c.is_whitespace() && !c.is_control();
        if name.is_empty() || !name.chars().all(fine) {
            return Err(wrong("what is before the = is no name of a variable"));
        }
        let (value, after) = value(&rest[end + 1..]).map_err(|e| wrong(&e))?;
        if value.contains('\0') {
            return Err(wrong("a value cannot hold a NUL byte"));
        }
        found.push((name.to_owned(), value));
        rest = after;
    }
}

/// The value at the beginning of a text, and what is behind its line.
fn value(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start_matches([' ', '\t']);
    let (value, rest) = match text.chars().next() {
        Some('\'') => {
            let closed = text[1..].split_once('\'');
            let (value, rest) = closed.ok_or("the quote ' is not closed")?;
            (value.to_owned(), rest)
        }
        Some('"') => double_quoted(&text[1..])?,
        _ => {
            let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
            let comment = line.match_indices('#').map(|(at, _)| at);
            let comment =
                comment.into_iter().find(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
            return Ok((line[..comment.unwrap_or(line.len())].trim().to_owned(), rest));
        }
    };
    let (behind, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    if !behind.trim().is_empty() && !behind.trim_start().starts_with('#') {
        return Err("something is behind the closing quote".to_owned());
    }
    Ok((value, rest))
}

fn double_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, c @ ('"' | '\\' | '$' | '`'))) => value.push(c),
                Some((_, 'n')) => value.push('\n'),
                Some((_, '\n')) => {}
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the quote \" is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_others_read_it() {
        let text = "# comment\n; another\nA=1\nexport B = two words  # gone\nC='# $x \"y\"'\n\
                    D=\"a \\\"b\\\" \\\\ \\$HOME\\n\\x\"\nE=\nF=a#b\nG=\"one\ntwo\" # said\nH='x\ny'\n\
                    I=\"con\\\ntinued\"\nJ=k=v;,%\r\nK=#\nL=end";
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "# $x \"y\""),
                ("D", "a \"b\" \\ $HOME\n\\x"),
                ("E", ""),
                ("F", "a#b"),
                ("G", "one\ntwo"),
                ("H", "x\ny"),
                ("I", "continued"),
                ("J", "k=v;,%"),
                ("K", ""),
                ("L", "end"),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("A=1\nnothing\nB=2", "line 2: expected NAME=value"),
            ("\n=1", "line 2: what is before the = is no name"),
            ("hunter 2=1", "line 1: what is before the = is no name"),
            ("A='x", "line 1: the quote ' is not closed"),
            ("A=\"x\\", "line 1: the quote \" is not closed"),
            ("A='x' hunter2", "line 1: something is behind the closing quote"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.starts_with(told) && !why.contains("hunter"), "{text:?}: {why}");
        }
        let why = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(why, "env_file /no/such/file: does not exist");
        assert!(read(Path::new("/")).unwrap_err().contains("is no regular file"));
        let home = tempfile::tempdir().unwrap();
        let fifo = home.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo).unwrap_err().ends_with("is no regular file"));
        let link = home.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        std::fs::write(home.path().join("file"), "A=1").unwrap();
        assert_eq!(read(&link).unwrap(), [("A".to_owned(), "1".to_owned())]);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            let why = read(&link).unwrap_err();
            assert!(why.ends_with("it is a link of user 12345, and is not followed"), "{why}");
        }
    }
}
