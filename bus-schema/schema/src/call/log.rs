//! Reading the output of an instance from its worker, part by part: whoever reads asks for the next
//! part, so that nothing is sent when nobody reads, and a slow reader slows nobody.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, InstanceId};

/// Most bytes of output in one answer of `log`. It goes over the connection of the worker's touches,
/// which wait behind it: 50 ms on a line of 10 Mbit/s.
pub const LOG_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of output in one answer of `log-bulk`: as base64 it fits into a NATS message of 1 MiB,
/// and larger ones were not faster.
pub const LOG_BULK_BYTES_MAX: usize = 512 * 1024;
/// Most lines from the end that are looked for.
pub const LOG_LINES_MAX: u32 = 100_000;
/// Longest that an answer of `log-bulk` waits for output.
pub const LOG_WAIT_MAX: Duration = Duration::from_secs(10);

/// Bytes of an answer that are not output.
const FRAME_BYTES: usize = 4096;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl Channel {
    /// `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        }
    }
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFrom {
    /// The last so many lines, at most [`LOG_LINES_MAX`]; they may take more than one answer.
    Last(u32),
    /// From this place on, as an earlier answer gave it.
    Place(LogPlace),
    /// From the first word under this epoch on. Refused as not found while there is none.
    Epoch(Epoch),
}

/// A place in a log, which stays the same place when the file is rotated or compressed. Whoever
/// reads gives it back as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LogPlace {
    /// Inode of the file.
    pub file: u64,
    /// Offset in bytes; with inode 0 it is 0, too, which is the begin of a log without a file yet.
    pub offset: u64,
    /// When the file was made, in microseconds since 1970, where its file system knows: a later file
    /// may get the same inode.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub born: u64,
    /// A checksum of the bytes before the place, by which it is found again in a compressed file,
    /// and missed in one that was emptied; 0 is unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub check: u64,
}

/// Ask for output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogAsk {
    /// Whose; nobody's is the worker's own log, of which there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<InstanceId>,
    /// Which.
    #[serde(default)]
    pub channel: Channel,
    /// From where.
    pub from: LogFrom,
    /// Only what was said under this epoch, if the worker knows where that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// How long `log-bulk` waits when there is nothing yet, in milliseconds, at most
    /// [`LOG_WAIT_MAX`]. `log` never waits; there it says that `log-bulk` will be asked next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ms: u64,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPart {
    /// The output, if it is UTF-8; else it is in `base64`, and this is empty.
    pub text: String,
    /// The output as base64, where it is no text, or is shorter so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Where to go on.
    pub next: LogPlace,
    /// More is there already.
    pub more: bool,
    /// The beginning of what was asked for is left out: the place was rotated away, or so many lines
    /// are not there, or cannot be read. This begins at the oldest that is left.
    #[serde(default)]
    pub skipped: bool,
    /// Under which epoch the end of this was said, where the worker knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The epoch that was asked for has ended here, and this was the last of its output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl LogAsk {
    /// Asks for standard output, whatever the epoch, without waiting.
    pub fn new(name: InstanceId, from: LogFrom) -> LogAsk {
        LogAsk { name: Some(name), channel: Channel::Stdout, from, epoch: None, wait_ms: 0 }
    }

    /// Asks for the worker's own log, without waiting.
    pub fn of_worker(from: LogFrom) -> LogAsk {
        LogAsk { name: None, channel: Channel::Stdout, from, epoch: None, wait_ms: 0 }
    }
}

impl LogPart {
    /// A part with this output that ends at `next`.
    pub fn new(output: Vec<u8>, next: LogPlace) -> LogPart {
        let (text, base64) = match String::from_utf8(output) {
            Ok(text) if escaped_len(&text) <= base64_len(text.len()) => (text, None),
            Ok(text) => (String::new(), Some(BASE64_STANDARD.encode(text))),
            Err(e) => (String::new(), Some(BASE64_STANDARD.encode(e.as_bytes()))),
        };
        LogPart { text, base64, next, more: false, skipped: false, epoch: None, ended: false }
    }

    /// The output. Bytes that cannot be read are none.
    pub fn into_output(self) -> Vec<u8> {
        match self.base64 {
            Some(base64) => BASE64_STANDARD.decode(base64).unwrap_or_default(),
            None => self.text.into_bytes(),
        }
    }

    /// Whether it holds no output.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.base64.as_ref().is_none_or(String::is_empty)
    }
}

/// Most bytes of output in an answer when a NATS message may have `payload_max` bytes; at least one.
pub fn output_bytes_max(payload_max: usize) -> usize {
    (payload_max.saturating_sub(FRAME_BYTES) / 4 * 3).max(1)
}

fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// How long a text is as JSON.
fn escaped_len(text: &str) -> usize {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(extra).sum::<usize>()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_through_and_an_answer_fits_into_a_message() {
        let room = output_bytes_max(1 << 20);
        assert!(room > LOG_BULK_BYTES_MAX);
        let noise: Vec<u8> = (0..=255).cycle().take(room).collect();
        for (output, plain) in [
            (b"a line\n".repeat(room / 7), true),
            ("ä€😀\n".repeat(room / 10).into_bytes(), true),
            (vec![b'\n'; room], false),
            (vec![0; room], false),
            (b"a\xFFb".to_vec(), false),
            (noise, false),
            (Vec::new(), true),
        ] {
            let part = LogPart::new(output.clone(), LogPlace::default());
            assert_eq!((part.base64.is_none(), part.is_empty()), (plain, output.is_empty()));
            let said = serde_json::to_string(&part).unwrap();
            assert!(said.len() <= 1 << 20, "{}", said.len());
            assert_eq!(serde_json::from_str::<LogPart>(&said).unwrap().into_output(), output);
        }
        assert_eq!(output_bytes_max(0), 1);
    }

    #[test]
    fn the_length_of_a_text_as_json_is_known() {
        let text: String = (0..0x300).filter_map(char::from_u32).collect();
        assert_eq!(escaped_len(&text) + 2, serde_json::to_string(&text).unwrap().len());
    }
}
