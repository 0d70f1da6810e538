//! Our standard input, given to a run: all of it in order to one child, or not at all.

use dsbus_client::Bus;
use tokio::sync::watch;

use super::super::hands::{self, Child, Feeder, Unwritten};

/// How it ended.
#[derive(Debug)]
pub(super) enum Fed {
    /// It has all of it, or wants no more.
    Enough,
    /// Some of it was used up by a child that is gone, or ours cannot be read.
    Lost(String),
}

/// Gives our standard input to the child, to its end. A child that follows another one gets it only if
/// nothing was used up.
pub(super) async fn feed(bus: &Bus, mut children: watch::Receiver<Option<Child>>) -> Fed {
    let mut pieces = None;
    let mut used = 0;
    loop {
        let Ok(known) = children.wait_for(Option::is_some).await.map(|child| child.clone()) else {
            return Fed::Enough;
        };
        let Some(child) = known.clone() else { continue };
        let mut feeder = Feeder::new(child, None);
        let pieces = pieces.get_or_insert_with(hands::pieces);
        let another = |child: &Option<Child>| *child != known;
        let ended = tokio::select! {
            ended = give(bus, &mut feeder, pieces, &mut used) => Some(ended),
            other = children.wait_for(another) => match other {
                Ok(_) => None,
                Err(_) => return Fed::Enough,
            },
        };
        if let Some(Given::Broken(why)) = ended {
            return Fed::Lost(format!("standard input: {why}"));
        }
        // It may be lost before it has read what is on its way.
        if ended.is_some() && children.wait_for(another).await.is_err() {
            return Fed::Enough;
        }
        if used > 0 {
            return lost(used);
        }
    }
}

fn lost(used: u64) -> Fed {
    Fed::Lost(format!(
        "its worker was lost, or it was started again, when {used} bytes of its input were used up, which \
         cannot be given again: it is stopped"
    ))
}

enum Given {
    All,
    /// It has closed its input, or has none.
    Unwanted,
    Gone,
    Broken(std::io::Error),
}

/// `used` counts what may have reached a child.
async fn give(
    bus: &Bus,
    feeder: &mut Feeder,
    pieces: &mut tokio::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>,
    used: &mut u64,
) -> Given {
    let mut piece = Vec::new();
    loop {
        *used += piece.len() as u64;
        match feeder.feed(bus, &piece, false).await {
            Ok(false) => {}
            Ok(true) | Err(Unwritten::Refused(_)) => return Given::Unwanted,
            Err(Unwritten::Gone(_) | Unwritten::Silent(_)) => return Given::Gone,
        }
        piece = match pieces.recv().await {
            Some(Ok(piece)) => piece,
            Some(Err(e)) => return Given::Broken(e),
            None => break,
        };
    }
    match feeder.feed(bus, &[], true).await {
        Ok(_) => Given::All,
        Err(Unwritten::Refused(_)) => Given::Unwanted,
        Err(Unwritten::Gone(_) | Unwritten::Silent(_)) => Given::Gone,
    }
}
