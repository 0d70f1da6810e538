//! What a child says of itself.

use super::{DATAGRAM_BYTES_MAX, Message, STATUS_BYTES_MAX, parse};

/// Reads a datagram.
///
/// # Panics
/// When a status is longer than it may be, a process is none that can be a child, or more is heard
/// than was said.
pub fn notify(data: &[u8]) {
    let cut = &data[..data.len().min(DATAGRAM_BYTES_MAX)];
    let text = String::from_utf8_lossy(cut);
    let heard = parse(&text);
    assert!(heard.len() <= text.lines().count());
    for message in heard {
        match message {
            Message::Status(status) => {
                assert!(status.len() <= STATUS_BYTES_MAX && !status.contains('\n'), "{status:?}");
                assert!(text.contains(&status), "{status:?} was not said");
            }
            Message::MainPid(pid) => assert!(pid > 1, "{pid}"),
            Message::Ready
            | Message::Stopping
            | Message::Reloading
            | Message::Watchdog
            | Message::WatchdogTrigger => {}
        }
    }
}
