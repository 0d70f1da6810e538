//! What happens, as server-sent events. Each is written once, whoever reads it: the bus and this
//! process do as much for one browser as for all that there may be.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::status::{InstanceRow, WorkerRow};
use futures::Stream as Pieces;
use futures::stream::unfold;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::fleet::{Change, Fleet};

/// Messages that a slow reader may be behind; then it is told to look at everything anew. Those
/// of instances have [`ROWS_MAX`] rows at most, one of workers has all of them; all readers share them.
const BEHIND_MAX: usize = 256;
/// Instances in one message: some hundred kilobytes.
const ROWS_MAX: usize = 200;
/// Changes that are looked at together; of several that say "read it anew" one is enough.
const TOGETHER_MAX: usize = 256;
/// How often something is sent in any case: whoever is between would close what is silent, most of
/// them after a minute.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How soon a browser comes back whose connection broke.
const AGAIN_MS: u64 = 1000;

/// What happens; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    fleet: Fleet,
    messages: broadcast::Sender<Bytes>,
}

impl Stream {
    /// Must be called on a tokio runtime.
    pub(crate) fn begin(fleet: &Fleet) -> Stream {
        let messages = broadcast::Sender::new(BEHIND_MAX);
        let stream = Stream { fleet: fleet.clone(), messages };
        tokio::spawn(write(stream.clone(), fleet.changes()));
        stream
    }

    /// What happens from now on.
    pub(crate) fn read(&self) -> Body {
        // Before the look at what is known, so that nothing is missed between the two.
        let messages = self.messages.subscribe();
        let retry = format!("retry: {AGAIN_MS}\n\n");
        let first = [retry.as_bytes(), &silence(&self.fleet)].concat();
        body(first.into(), from(messages))
    }
}

/// What a reader gets, until nobody writes any more.
fn from(messages: broadcast::Receiver<Bytes>) -> impl Pieces<Item = Bytes> + Send + 'static {
    unfold(messages, async |mut messages| {
        let next = match timeout(ALIVE_EVERY, messages.recv()).await {
            Ok(Ok(message)) => message,
            Ok(Err(RecvError::Lagged(_))) => {
                // What is left of the old ones would come after what is read anew.
                messages = messages.resubscribe();
                message("reset", &json!({}))
            }
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => Bytes::from_static(b": alive\n\n"),
        };
        Some((next, messages))
    })
}

/// A body of events: what is there already, and what comes.
pub(crate) fn body(first: Bytes, rest: impl Pieces<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    let first = futures::stream::iter([first]);
    Body::from_stream(first.chain(rest).map(Ok::<_, Infallible>))
}

/// One event.
pub(crate) fn message(name: &str, data: &impl Serialize) -> Bytes {
    // What is sent is made of our own types, which have no keys that JSON lacks.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// The answer that carries them.
pub(crate) fn response(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // nginx keeps what it is not told to pass on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// Sends a comment whenever there was nothing else for a while.
pub(crate) async fn or_alive(next: impl Future<Output = Option<Bytes>>) -> Option<Bytes> {
    timeout(ALIVE_EVERY, next).await.unwrap_or(Some(Bytes::from_static(b": alive\n\n")))
}

fn silence(fleet: &Fleet) -> Bytes {
    message("silent", &json!({ "silent": fleet.known().silent() }))
}

/// Instances as they stand now, and those that are gone.
#[derive(Serialize)]
struct Rows<'a> {
    changed: Vec<&'a InstanceRow>,
    gone: &'a [InstanceId],
}

/// Writes messages for all, until the runtime ends.
async fn write(stream: Stream, mut changes: broadcast::Receiver<Change>) {
    let Stream { fleet, messages } = stream;
    // Nobody may be reading.
    let send = |message: Bytes| drop(messages.send(message));
    loop {
        let mut next = Some(changes.recv().await);
        let (mut workers, mut programs, mut silent) = (false, false, false);
        for _ in 0..TOGETHER_MAX {
            match next {
                _ if messages.receiver_count() == 0 => break,
                None => break,
                Some(Ok(Change::Rows { changed, gone })) => rows(&changed, &gone).for_each(send),
                Some(Ok(Change::Event(event))) => send(message("event", &*event)),
                Some(Ok(Change::Workers)) => workers = true,
                Some(Ok(Change::Programs)) => programs = true,
                Some(Ok(Change::Silence)) => silent = true,
                Some(Err(RecvError::Lagged(_))) => {
                    changes = changes.resubscribe();
                    send(message("reset", &json!({})));
                }
                Some(Err(RecvError::Closed)) => return,
            }
            next = match changes.try_recv() {
                Ok(change) => Some(Ok(change)),
                Err(broadcast::error::TryRecvError::Lagged(n)) => Some(Err(RecvError::Lagged(n))),
                Err(_) => None,
            };
        }
        if silent {
            send(silence(&fleet));
        }
        if programs {
            send(message("programs", &json!({})));
        }
        if workers {
            let workers: Vec<Arc<WorkerRow>> = fleet.known().workers().values().cloned().collect();
            let rows: Vec<&WorkerRow> = workers.iter().map(AsRef::as_ref).collect();
            send(message("workers", &rows));
        }
    }
}

fn rows<'a>(
    changed: &'a [Arc<InstanceRow>],
    gone: &'a [InstanceId],
) -> impl Iterator<Item = Bytes> + 'a {
    let changed = changed
        .chunks(ROWS_MAX)
        .map(|changed| Rows { changed: changed.iter().map(AsRef::as_ref).collect(), gone: &[] });
    let gone = gone.chunks(ROWS_MAX).map(|gone| Rows { changed: Vec::new(), gone });
    changed.chain(gone).map(|rows| message("rows", &rows))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// What a reader is given that was behind by so many messages, and of one that comes after that.
    async fn given(behind: usize) -> Vec<String> {
        let messages = broadcast::Sender::new(BEHIND_MAX);
        let mut read = Box::pin(from(messages.subscribe()));
        for n in 0..behind {
            messages.send(message("event", &n)).unwrap();
        }
        let first = read.next().await.unwrap();
        messages.send(message("event", &"new")).unwrap();
        drop(messages);
        let all: Vec<Bytes> = futures::stream::iter([first]).chain(read).collect().await;
        all.iter().map(|one| String::from_utf8(one.to_vec()).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_to_look_anew_and_gets_nothing_old() {
        let new = "event: event\ndata: \"new\"\n\n";
        assert_eq!(given(BEHIND_MAX + 1).await, ["event: reset\ndata: {}\n\n", new]);
        // One that is not too far behind misses nothing.
        let all = given(BEHIND_MAX).await;
        assert_eq!((all.len(), all[BEHIND_MAX].as_str()), (BEHIND_MAX + 1, new));
        assert_eq!(all[0], "event: event\ndata: 0\n\n");
    }
}
