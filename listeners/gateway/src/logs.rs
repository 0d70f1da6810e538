//! What instances print.

use dsbus_client::output::{Course, Lines, Piece, Reader, STAYS_MAX, Stay};
use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::status::InstanceRow;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::fleet::{Change, Fleet};

/// Pieces that wait for whoever reads; then no more are asked for.
const PIECES_MAX: usize = 4;

/// Follows what an instance prints, from its last so many lines on, from worker to worker, until the
/// receiver is dropped. An instance that is not there yet is waited for.
pub(crate) fn follow(
    fleet: &Fleet,
    name: InstanceId,
    channel: Channel,
    lines: u32,
) -> mpsc::Receiver<Piece> {
    let begun = fleet.known().rows().get(&name).and_then(|row| stay(row));
    let course = Course::from_last_lines(name.clone(), channel, begun, lines);
    follow_course(fleet, name, course)
}

/// The same from wherever a course begins.
pub(crate) fn follow_course(
    fleet: &Fleet,
    name: InstanceId,
    course: Course,
) -> mpsc::Receiver<Piece> {
    let (print, pieces) = mpsc::channel(PIECES_MAX);
    let mut changes = fleet.changes();
    let (sender, news) = mpsc::channel(STAYS_MAX);
    let reader = Reader {
        bus: fleet.bus().clone(),
        course,
        lines: Lines::new(None),
        print,
        announces: true,
        begins: None,
        noted: None,
    };
    let fleet = fleet.clone();
    tokio::spawn(async move {
        let moves = async {
            loop {
                match changes.recv().await {
                    Ok(Change::Rows { changed, .. }) => {
                        let mut found = changed.iter().filter(|row| row.name == name);
                        if let Some(stay) = found.next().and_then(|row| stay(row)) {
                            // One that does not fit is told again with the next change.
                            drop(sender.try_send(stay));
                        }
                    }
                    Err(RecvError::Lagged(_)) => {
                        let now = fleet.known().rows().get(&name).and_then(|row| stay(row));
                        if let Some(stay) = now {
                            drop(sender.try_send(stay));
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        };
        tokio::select! {
            () = reader.run(news) => {}
            () = moves => {}
        }
    });
    pieces
}

fn stay(row: &InstanceRow) -> Option<Stay> {
    Some(Stay { epoch: row.epoch, worker: row.worker.clone()? })
}
