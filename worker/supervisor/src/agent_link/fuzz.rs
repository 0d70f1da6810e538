//! What the two sides of a worker say to each other, cut anywhere.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Received;
use crate::fuzz::INPUT_BYTES_MAX;
use crate::protocol::{ToAgent, ToSupervisor};

/// Takes what comes apart into lines, and reads each as either side would. The first byte says into
/// pieces of which size it is cut.
///
/// # Panics
/// When lines are others than those that were said, or a message is written otherwise.
pub fn link(data: &[u8]) {
    let Some((size, said)) = data.split_first().filter(|_| data.len() <= INPUT_BYTES_MAX) else {
        return;
    };
    let (mut received, mut lines) = (Received::default(), Vec::<Vec<u8>>::new());
    for piece in said.chunks(usize::from(*size).max(1)) {
        received.bytes.extend_from_slice(piece);
        received.lines(|line| lines.push(line.to_owned()));
    }
    let mut whole: Vec<&[u8]> = said.split(|byte| *byte == b'\n').collect();
    assert_eq!(Some(received.bytes.as_slice()), whole.pop(), "what is still to end");
    assert_eq!(lines, whole);
    for line in &lines {
        again::<ToSupervisor>(line);
        if let Some(message) = again::<ToAgent>(line) {
            let line = message.line();
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            assert!(line.len() > 1 && line.ends_with(b"\n"), "says nothing");
        }
    }
}

fn again<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let read = serde_json::from_slice::<T>(line).ok()?;
    let Ok(written) = serde_json::to_string(&read) else { panic!("cannot be written") };
    assert!(written.len() <= 64 * line.len() + 64 * 1024, "{} bytes", written.len());
    match serde_json::from_str::<T>(&written) {
        Ok(once_more) => {
            assert_eq!(serde_json::to_string(&once_more).ok(), Some(written), "it changes");
        }
        Err(e) => panic!("{written} is written, and not read: {e}"),
    }
    Some(read)
}
