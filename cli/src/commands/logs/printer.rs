//! What is shown, in a thread of its own: whoever reads it may be slow, and meanwhile the next part
//! is on its way already. One that is stopped keeps nobody else waiting than us.

use std::io;

use dsbus_client::output::Piece;
use dsbus_schema::call::Channel;
use tokio::sync::{mpsc, oneshot};

use crate::output;

/// Pieces that wait to be shown: two parts, so that neither side waits for the other.
const WAITING_MAX: usize = 2;

/// Shows pieces in order. Dropping all senders ends it.
pub(super) fn start() -> (mpsc::Sender<Piece>, oneshot::Receiver<io::Result<()>>) {
    start_on(Channel::Stdout)
}

/// The same, on this of our outputs.
pub(super) fn start_on(
    channel: Channel,
) -> (mpsc::Sender<Piece>, oneshot::Receiver<io::Result<()>>) {
    let (sender, mut pieces) = mpsc::channel(WAITING_MAX);
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // Whoever waits for it may be gone.
        let _ = end.send(print(&mut pieces, channel));
    });
    (sender, ended)
}

fn print(pieces: &mut mpsc::Receiver<Piece>, channel: Channel) -> io::Result<()> {
    let mut in_a_line = false;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Output(bytes) => {
                in_a_line = bytes.last().map_or(in_a_line, |last| *last != b'\n');
                match channel {
                    Channel::Stdout => output::bytes(&bytes)?,
                    Channel::Stderr => output::error_bytes(&bytes)?,
                }
            }
            Piece::Note(text) => {
                // What people see only: output that goes elsewhere is left as it is.
                if in_a_line && output::is_terminal() {
                    output::note("");
                }
                output::note(format_args!("-- {text} --"));
            }
        }
    }
    Ok(())
}
