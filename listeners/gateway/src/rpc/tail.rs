//! `/logtail` and `/mainlogtail`: what is written, as it is written, without an end.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dsbus_client::output::{Asking, Course, Piece, Stay};
use dsbus_schema::call::{Channel, LogAsk, LogFrom, WindowFrom};
use dsbus_schema::ids::WorkerName;
use tokio::sync::mpsc;

use super::call::Desk;
use super::logs::Log;
use crate::fleet::Fleet;
use crate::logs::follow_course;

/// How far before the end it begins, in bytes; as Supervisor.
const HEAD: u64 = 1024;
/// Pieces that wait for whoever reads; then no more are asked for.
const PIECES_MAX: usize = 4;
/// How long a worker waits for more of its own log.
const WAIT_MS: u64 = 2000;

/// `/logtail/NAME` and `/logtail/NAME/CHANNEL`.
pub(super) async fn process(desk: &Desk, path: &str) -> Response {
    let (name, channel) = path.split_once('/').unwrap_or((path, "stdout"));
    let channel = match channel {
        "stdout" => Channel::Stdout,
        "stderr" => Channel::Stderr,
        _ => return missing(),
    };
    let Ok(process) = desk.view().and_then(|view| view.one(name)) else { return missing() };
    let Some(log) = Log::of(&process, channel) else { return missing() };
    let Ok(head) = log.read(&desk.fleet, WindowFrom::Last(HEAD), HEAD).await else {
        return missing();
    };
    let row = &process.row;
    let stay = Stay { epoch: row.epoch, worker: log.worker };
    let course = Course::from_place(row.name.clone(), channel, stay, head.next);
    let pieces = follow_course(&desk.fleet, row.name.clone(), course);
    stream(head.bytes, pieces)
}

/// `/mainlogtail`: a worker's own log.
pub(super) async fn main(desk: &Desk) -> Response {
    let Some(worker) = desk.worker.clone() else { return missing() };
    let log = Log::of_worker(worker.clone());
    let Ok(head) = log.read(&desk.fleet, WindowFrom::Last(HEAD), HEAD).await else {
        return missing();
    };
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let from = LogFrom::Place(head.next);
    tokio::spawn(follow_worker(desk.fleet.clone(), worker, from, sender));
    stream(head.bytes, pieces)
}

/// Goes on until nobody reads, or the worker does not answer well.
async fn follow_worker(
    fleet: Fleet,
    worker: WorkerName,
    from: LogFrom,
    sender: mpsc::Sender<Piece>,
) {
    let mut asking = Asking::default();
    let mut ask = LogAsk { wait_ms: WAIT_MS, ..LogAsk::of_worker(from) };
    loop {
        let answer = tokio::select! {
            () = sender.closed() => return,
            answer = asking.ask(fleet.bus(), &worker, &ask) => answer,
        };
        // An error that may pass comes after a pause.
        let Ok(part) = answer else { continue };
        ask.from = LogFrom::Place(part.next);
        let output = part.into_output();
        if !output.is_empty() && sender.send(Piece::Output(output)).await.is_err() {
            return;
        }
    }
}

fn stream(head: Vec<u8>, pieces: mpsc::Receiver<Piece>) -> Response {
    let rest = futures::stream::unfold(pieces, async |mut pieces| {
        let bytes = match pieces.recv().await? {
            Piece::Output(bytes) => bytes,
            Piece::Note(note) => format!("==> {note} <==\n").into_bytes(),
        };
        Some((bytes, pieces))
    });
    let first = (!head.is_empty()).then_some(head);
    let all = futures::StreamExt::chain(futures::stream::iter(first), rest);
    let all = futures::StreamExt::map(all, Ok::<_, std::convert::Infallible>);
    let headers = [
        (header::CONTENT_TYPE, "text/plain;charset=utf-8"),
        // A proxy that waits for more would show nothing.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(all)).into_response()
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "404: there is no such log\n").into_response()
}
