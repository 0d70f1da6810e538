//! An event as bytes on a listener's standard input: a line of tokens, and the payload.

use std::io::Write;

use dsbus_schema::program::EventName;

/// What the `len` token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Len {
    /// Characters (Unicode scalar values), as Supervisor does, although its manual says bytes:
    /// right for whoever reads text, such as Supervisor's childutils on Python 3. Every end of a
    /// line in the payload is `\n` then: Python's text makes it that while it reads, and would wait
    /// for ever for what was left out.
    #[default]
    Chars,
    /// Bytes: right for whoever reads bytes. The payload is as it was said.
    Bytes,
}

/// What the first tokens say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// `server`: the identifier of the one who sends.
    pub server: String,
    /// `pool`: the name of the listener.
    pub pool: String,
    /// What `len` counts.
    pub len: Len,
}

/// Which event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// `serial`: the event's sequence in the fleet's stream, the same for every listener, and
    /// whenever it comes again.
    pub serial: u64,
    /// `poolserial`: counts the events of this pool, from 0; the same when an event comes again.
    pub poolserial: u64,
}

/// Appends the event to `out`.
pub fn write(out: &mut Vec<u8>, tokens: &Tokens, numbers: Numbers, name: EventName, payload: &str) {
    let Tokens { server, pool, len } = tokens;
    let Numbers { serial, poolserial } = numbers;
    let unix;
    let (payload, len) = match len {
        Len::Bytes => (payload, payload.len()),
        Len::Chars => {
            unix = unix_lines(payload);
            let payload = unix.as_deref().unwrap_or(payload);
            let chars = if payload.is_ascii() { payload.len() } else { payload.chars().count() };
            (payload, chars)
        }
    };
    // Writing to memory does not fail.
    let _ = writeln!(
        out,
        "ver:3.0 server:{server} serial:{serial} pool:{pool} poolserial:{poolserial} \
         eventname:{name} len:{len}"
    );
    out.extend_from_slice(payload.as_bytes());
}

/// The text with `\n` at the end of each line, where it has other ends.
fn unix_lines(text: &str) -> Option<String> {
    text.contains('\r').then(|| text.replace("\r\n", "\n").replace('\r', "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(len: Len, payload: &str) -> String {
        let tokens = Tokens { server: "supervisor".to_owned(), pool: "mail".to_owned(), len };
        let (mut out, numbers) = (Vec::new(), Numbers { serial: 21, poolserial: 10 });
        write(&mut out, &tokens, numbers, EventName::ProcessLogStdout, payload);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_line_is_supervisors() {
        let head = "ver:3.0 server:supervisor serial:21 pool:mail poolserial:10 \
                    eventname:PROCESS_LOG_STDOUT";
        for (len, payload, is) in [
            (Len::Chars, "a:1 b:2", "len:7\na:1 b:2"),
            (Len::Chars, "", "len:0\n"),
            (Len::Bytes, "a:1\nno end\n", "len:11\na:1\nno end\n"),
            (Len::Chars, "grüße 🦀", "len:7\ngrüße 🦀"),
            (Len::Bytes, "grüße 🦀", "len:12\ngrüße 🦀"),
            (Len::Chars, "1\r\n2\r3\n4\r", "len:8\n1\n2\n3\n4\n"),
            (Len::Bytes, "1\r\n2\r3\n4\r", "len:9\n1\r\n2\r3\n4\r"),
        ] {
            assert_eq!(framed(len, payload), format!("{head} {is}"));
        }
    }
}
