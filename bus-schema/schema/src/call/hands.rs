//! Laying hands on a child that lives: a signal to it, and bytes to its standard input.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Epoch, InstanceId, UserName};
use crate::program::Signal;

/// Most bytes of input in one request. It goes over the connection of the worker's touches, which
/// wait behind it: 50 ms on a line of 10 Mbit/s. The pipe of a child holds as much.
pub const STDIN_BYTES_MAX: usize = 64 * 1024;
/// Longest pause before a child whose pipe is full is offered the rest again.
pub const STDIN_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Send a signal to the main process of an instance, once. A child that was started after the one that
/// is meant never gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalAsk {
    /// Whose.
    pub name: InstanceId,
    /// Epoch of the child that is meant.
    pub epoch: Epoch,
    /// Its process id.
    pub pid: i32,
    /// Which signal.
    pub signal: Signal,
    /// Who wants it; the event tells it.
    pub by: UserName,
}

/// The signal was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalSent {
    /// To whom.
    pub name: InstanceId,
    /// Its process.
    pub pid: i32,
    /// Which.
    pub signal: Signal,
}

/// Write to the standard input of a child, or close it. What does not fit into its pipe now is not taken,
/// and to be offered again. Without bytes and `eof` it only asks whether it has an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StdinAsk {
    /// Whose.
    pub name: InstanceId,
    /// Epoch of the child that is meant.
    pub epoch: Epoch,
    /// Its process id.
    pub pid: i32,
    /// Who writes: one id for all that belongs together. A request that comes twice is written once.
    pub writer: Uuid,
    /// How many bytes this writer has written before these.
    pub offset: u64,
    /// The bytes as base64, at most [`STDIN_BYTES_MAX`] of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base64: String,
    /// Close it behind these bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eof: bool,
    /// Who wants it; the event of the closing tells it.
    pub by: UserName,
}

/// How far it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StdinTaken {
    /// To whom.
    pub name: InstanceId,
    /// How many bytes of this writer were taken in all; the next request begins there.
    pub through: u64,
    /// It is closed.
    #[serde(default)]
    pub closed: bool,
}

impl StdinAsk {
    /// Bytes as they are sent.
    pub fn encoded(bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(bytes)
    }

    /// The bytes.
    ///
    /// # Errors
    /// Why they are none, or too many.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        // Looked at first: nothing large is decoded.
        let most = STDIN_BYTES_MAX.div_ceil(3) * 4;
        let too_many = || Err(format!("base64: more than {STDIN_BYTES_MAX} bytes at once"));
        if self.base64.len() > most {
            return too_many();
        }
        let bytes = BASE64_STANDARD.decode(&self.base64).map_err(|e| format!("base64: {e}"))?;
        // The last group of letters may hold two bytes more.
        if bytes.len() > STDIN_BYTES_MAX { too_many() } else { Ok(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_through_up_to_the_limit() {
        let mut ask = StdinAsk {
            name: "web:0".parse().unwrap(),
            epoch: Epoch(3),
            pid: 7,
            writer: Uuid::nil(),
            offset: 0,
            base64: String::new(),
            eof: false,
            by: "ann".parse().unwrap(),
        };
        assert_eq!(ask.bytes(), Ok(Vec::new()));
        let all: Vec<u8> = (0..=255).cycle().take(STDIN_BYTES_MAX).collect();
        ask.base64 = StdinAsk::encoded(&all);
        assert_eq!(ask.bytes().as_deref(), Ok(&all[..]));
        ask.base64 = StdinAsk::encoded(&vec![0; STDIN_BYTES_MAX + 1]);
        assert!(ask.bytes().unwrap_err().contains("at once"));
        ask.base64 = "%".to_owned();
        assert!(ask.bytes().unwrap_err().starts_with("base64"));
    }
}
