//! The socket to the supervisor: one JSON document per line, both ways. The supervisor's pings are
//! answered here, so that no answer ever waits for the bus.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use dsbus_supervisor::protocol::{LINE_BYTES_MAX, ToAgent, ToSupervisor};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages of the supervisor that wait for the loop; then the socket waits, too.
const HEARD_MAX: usize = 1024;
/// Messages to a supervisor that does not read; what does not fit is made good by a sync.
const SAID_MAX: usize = 8192;
/// Answers to pings that wait. One that does not fit answers a ping that nobody waits for.
const PONGS_MAX: usize = 16;
/// How long the last words may take to be written.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The socket.
#[derive(Debug)]
pub(crate) struct Link {
    heard: mpsc::Receiver<ToAgent>,
    say: mpsc::Sender<ToSupervisor>,
    writer: JoinHandle<()>,
}

impl Link {
    /// Takes the socket over. Needs a tokio runtime.
    pub(crate) fn open(socket: OwnedFd) -> io::Result<Link> {
        let socket = StdStream::from(socket);
        socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        let (heard_in, heard) = mpsc::channel(HEARD_MAX);
        let (say, said) = mpsc::channel(SAID_MAX);
        let (pong, pongs) = mpsc::channel(PONGS_MAX);
        tokio::spawn(async move {
            if let Err(error) = read_all(read, &heard_in, &pong).await {
                tracing::error!(%error, "failed to read from the supervisor");
            }
        });
        let writer = tokio::spawn(async move {
            if let Err(error) = write_all(write, said, pongs).await {
                tracing::warn!(%error, "failed to write to the supervisor");
            }
        });
        Ok(Link { heard, say, writer })
    }

    /// What the supervisor says; `None` once it is gone. Cancel-safe.
    pub(crate) async fn heard(&mut self) -> Option<ToAgent> {
        self.heard.recv().await
    }

    /// What it has said already; `None` when there is nothing now.
    pub(crate) fn heard_already(&mut self) -> Option<ToAgent> {
        self.heard.try_recv().ok()
    }

    /// Says something; `false` when the supervisor has not read for so long that it was dropped.
    pub(crate) fn say(&self, message: ToSupervisor) -> bool {
        self.say.try_send(message).is_ok()
    }

    /// Whether everything that was said has been taken up.
    pub(crate) fn idle(&self) -> bool {
        self.say.capacity() == SAID_MAX
    }

    /// Writes what is left, and closes.
    pub(crate) async fn close(self) {
        drop(self.say);
        drop(tokio::time::timeout(CLOSE_MAX, self.writer).await);
    }
}

async fn read_all(
    read: OwnedReadHalf,
    heard: &mpsc::Sender<ToAgent>,
    pong: &mpsc::Sender<u64>,
) -> io::Result<()> {
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        if (&mut read).take(most).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let torn = line.len() <= LINE_BYTES_MAX;
            return if torn { Ok(()) } else { Err(io::Error::other("a line is too long")) };
        }
        match serde_json::from_slice(&line) {
            Ok(ToAgent::Ping { number }) => drop(pong.try_send(number)),
            Ok(message) => {
                if heard.send(message).await.is_err() {
                    return Ok(());
                }
            }
            // A newer supervisor may know more words.
            Err(error) => tracing::warn!(%error, "the supervisor said something strange"),
        }
    }
}

async fn write_all(
    mut write: OwnedWriteHalf,
    mut said: mpsc::Receiver<ToSupervisor>,
    mut pongs: mpsc::Receiver<u64>,
) -> io::Result<()> {
    loop {
        let message = tokio::select! {
            biased;
            Some(number) = pongs.recv() => ToSupervisor::Pong { number },
            message = said.recv() => match message {
                Some(message) => message,
                None => return write.shutdown().await,
            },
        };
        let mut line = serde_json::to_vec(&message)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;

    #[tokio::test]
    async fn a_ping_is_answered_while_nobody_listens_and_strange_words_are_left_aside() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let mut link = Link::open(theirs.into()).unwrap();
        let mut say = ours.try_clone().unwrap();
        say.write_all(b"{\"say\":\"ping\",\"number\":7}\n{\"say\":\"sing\"}\nx\n").unwrap();
        say.write_all(b"{\"say\":\"bye\"}\n").unwrap();
        let mut lines = BufReader::new(ours).lines();
        let first = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap()).await;
        assert_eq!(first.unwrap(), r#"{"say":"pong","number":7}"#);
        assert_eq!(link.heard().await, Some(ToAgent::Bye));
        drop(say);
    }

    #[tokio::test]
    async fn what_was_said_is_written_before_it_closes() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let link = Link::open(theirs.into()).unwrap();
        assert!(link.say(ToSupervisor::Done { through: 3 }) && link.say(ToSupervisor::Finished));
        link.close().await;
        let lines = tokio::task::spawn_blocking(|| BufReader::new(ours).lines().count());
        assert_eq!(lines.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_supervisor_that_is_gone_is_noticed() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let mut link = Link::open(theirs.into()).unwrap();
        drop(ours);
        assert_eq!(link.heard().await, None);
    }
}
