//! `/instances/{name}/log`: text, whatever it was that an instance printed.

use bytes::Bytes;
use dsbus_client::Error;
use dsbus_client::output::Piece;
use dsbus_schema::call::{Channel, LOG_LINES_MAX, LogAsk, LogFrom, LogPart, WorkerVerb};
use dsbus_schema::command::code;
use dsbus_schema::ids::WorkerName;
use futures::stream::unfold;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use super::answer::{Live, Output};
use super::api::Call;
use super::given::Given;
use super::refusal::Refusal;
use super::{instances, wait};
use crate::logs;
use crate::stream::{body, message, or_alive};

/// How long a worker may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Lines when nobody says how many.
const LINES: u32 = 200;

/// Which of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Standard output, or standard error.
    #[serde(default)]
    channel: Channel,
    /// How many of the last lines; 200 unless said, and at most 100,000.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    lines: Option<u32>,
    /// Go on, with server-sent events: `output` is a piece of it, `note` says something about it. Both
    /// are text in JSON.
    #[serde(default)]
    follow: bool,
}

impl Given for Which {}

pub(super) async fn log(call: Call<Which>) -> Result<Output, Refusal> {
    let Which { channel, lines, follow } = call.query;
    let lines = lines.unwrap_or(LINES);
    if lines > LOG_LINES_MAX {
        return Err(Refusal::bad("lines", format!("at most {LOG_LINES_MAX}")));
    }
    let row = instances::row(&call.gateway, &call.name)?;
    let fleet = &call.gateway.fleet;
    if follow {
        let pieces = logs::follow(fleet, row.name.clone(), channel, lines);
        let texts = unfold((pieces, Text::default()), async |(mut pieces, mut text)| {
            let next = async { pieces.recv().await.map(|piece| event(piece, &mut text)) };
            let next = or_alive(next).await?;
            Some((next, (pieces, text)))
        });
        return Ok(Output::Live(Live(body(Bytes::from_static(b": here\n\n"), texts))));
    }
    let Some(worker) = row.worker.clone() else {
        let why = format!("{} is on no worker: {}", row.name, wait::describe(&row));
        return Err(Refusal::new(code::CONFLICT, why));
    };
    let ask = LogAsk { channel, ..LogAsk::new(row.name.clone(), LogFrom::Last(lines)) };
    let reading =
        Reading { bus: fleet.bus().clone(), worker, ask, left: lines, text: Text::default() };
    // A refusal can only be told before the first piece.
    let (first, reading) = reading.next().await?;
    let rest = unfold(reading, async |reading| {
        // What is sent has begun; whoever reads sees that it ends early in that it is shorter.
        let (piece, reading) = reading?.next().await.ok()?;
        Some((piece, reading))
    });
    Ok(Output::Text(body(first, rest)))
}

fn event(piece: Piece, text: &mut Text) -> Bytes {
    match piece {
        Piece::Output(bytes) => message("output", &text.add(&bytes)),
        Piece::Note(note) => message("note", &note),
    }
}

/// Reads the last lines part by part.
struct Reading {
    bus: dsbus_client::Bus,
    worker: WorkerName,
    ask: LogAsk,
    /// Lines that are still wanted: a child that writes faster than this reads does not keep it from
    /// ending.
    left: u32,
    text: Text,
}

impl Reading {
    /// A part, and what reads the next one.
    async fn next(mut self) -> Result<(Bytes, Option<Reading>), Refusal> {
        let part: Result<LogPart, Error> =
            self.bus.call_worker(&self.worker, WorkerVerb::Log, &self.ask, ANSWER_MAX).await;
        let part = part.map_err(|e| Refusal::of_worker(&self.worker, e))?;
        self.ask.from = LogFrom::Place(part.next);
        let more = part.more;
        let output = first_lines(part.into_output(), &mut self.left);
        let mut text = self.text.add(&output);
        let ended = !more || self.left == 0;
        if ended {
            text.push_str(&self.text.end());
        }
        Ok((text.into(), (!ended).then_some(self)))
    }
}

/// At most `left` lines of it; fewer are left then.
fn first_lines(mut output: Vec<u8>, left: &mut u32) -> Vec<u8> {
    for (at, _) in output.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        *left = left.saturating_sub(1);
        if *left == 0 {
            output.truncate(at + 1);
            break;
        }
    }
    output
}

/// Makes text of bytes that come in pieces: what is none is replaced, and a character that is cut
/// between two pieces is put together.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character, at most three bytes.
    rest: Vec<u8>,
}

impl Text {
    fn add(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.rest);
        all.extend(bytes);
        let mut text = String::with_capacity(all.len());
        let mut left = all.as_slice();
        loop {
            match std::str::from_utf8(left) {
                Ok(good) => {
                    text.push_str(good);
                    return text;
                }
                Err(e) => {
                    let (good, bad) = left.split_at(e.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    let Some(length) = e.error_len() else {
                        self.rest = bad.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    left = &bad[length..];
                }
            }
        }
    }

    /// A character that nothing more comes of.
    fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_wherever_pieces_end() {
        let bytes = "aé€😀\u{0}z".as_bytes();
        for cut in 0..=bytes.len() {
            for again in cut..=bytes.len() {
                let mut text = Text::default();
                let all = [&bytes[..cut], &bytes[cut..again], &bytes[again..]];
                let mut said: String = all.iter().map(|piece| text.add(piece)).collect();
                said.push_str(&text.end());
                assert_eq!(said, "aé€😀\u{0}z", "{cut} {again}");
            }
        }
        let mut text = Text::default();
        assert_eq!(text.add(b"a\xff\xfeb\xe2\x82"), "a\u{fffd}\u{fffd}b");
        assert_eq!(text.add(b"c"), "\u{fffd}c");
        assert_eq!(text.add(b"\xf0\x9f"), "");
        assert_eq!(text.end(), "\u{fffd}");
        assert_eq!(text.end(), "");
    }
}
