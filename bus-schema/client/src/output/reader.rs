//! Reads the output of one instance, wherever it is, and has it printed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Bus, Error};
use dsbus_schema::call::LogPart;
use dsbus_schema::command::code;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Piece;
use super::asking::Asking;
use super::course::{Course, Show, Stay};
use super::lines::Lines;

/// How long a worker may be silent when only the last output of an instance that has ended is still to
/// come.
const LAST_WORDS_MAX: Duration = Duration::from_secs(10);

/// Reads one instance.
#[derive(Debug)]
pub struct Reader {
    /// The bus.
    pub bus: Bus,
    /// Where to begin.
    pub course: Course,
    /// What it looks like.
    pub lines: Lines,
    /// Where it goes.
    pub print: mpsc::Sender<Piece>,
    /// Says where the instance goes.
    pub announces: bool,
    /// Dropped when the first answer has come: what is said from then on is shown.
    pub begins: Option<mpsc::Sender<()>>,
    /// What was noted last, by this one or by that of the other output, where there is one.
    pub noted: Option<Noted>,
}

/// A note that two readers have in common.
pub type Noted = Arc<Mutex<Option<String>>>;

impl Reader {
    /// Ends when nobody prints any more.
    pub async fn run(self, news: mpsc::Receiver<Stay>) {
        let (_never, over) = watch::channel(false);
        self.run_until(news, over).await;
    }

    /// Ends when nobody prints any more; or once `over` says that the instance has ended, and all that it
    /// said is read.
    pub async fn run_until(
        mut self,
        mut news: mpsc::Receiver<Stay>,
        mut over: watch::Receiver<bool>,
    ) {
        let mut asking = Asking::default();
        let mut over_since = None;
        loop {
            if *over.borrow() {
                over_since.get_or_insert_with(Instant::now);
                // Whoever says that it is over has told before where that was.
                while let Ok(stay) = news.try_recv() {
                    self.course.hear(stay);
                }
            }
            let (ask, shown) = self.course.ask(Instant::now());
            if self.show(shown).await.is_err() {
                return;
            }
            let Some((worker, mut ask)) = ask else {
                if over_since.is_some() {
                    return;
                }
                tokio::select! {
                    stay = news.recv() => match stay {
                        Some(stay) => self.course.hear(stay),
                        None => return,
                    },
                    () = self.print.closed() => return,
                    Ok(()) = over.changed() => {}
                }
                continue;
            };
            if over_since.is_some() {
                ask.wait_ms = 0;
            }
            let answer = tokio::select! {
                biased;
                // Whoever asked for more of this stay may now have to ask otherwise.
                Some(stay) = news.recv() => {
                    self.course.hear(stay);
                    continue;
                }
                Ok(()) = over.changed(), if over_since.is_none() => continue,
                // A log that is silent gives nothing to send: nobody would notice.
                () = self.print.closed() => return,
                answer = asking.ask(&self.bus, &worker, &ask) => answer,
            };
            self.begins = None;
            // What was asked for before that may not be all.
            let last = over_since.is_some_and(|since| is_last(&answer, since.elapsed()));
            let shown = match answer {
                Ok(part) => self.course.answered(part, Instant::now()),
                Err(error) => self.course.failed(&error, Instant::now()),
            };
            if self.show(shown).await.is_err() || last {
                return;
            }
        }
    }

    /// Whether it was not the last thing that was noted.
    fn is_news(&self, note: &str) -> bool {
        let Some(noted) = &self.noted else { return true };
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.replace(note.to_owned()).as_deref() != Some(note)
    }

    async fn show(&mut self, shown: Vec<Show>) -> Result<(), mpsc::error::SendError<Piece>> {
        for show in shown {
            let piece = match show {
                Show::Output(output) => Piece::Output(self.lines.add(output)),
                Show::EndOfStay => Piece::Output(self.lines.end()),
                Show::Moved(_) if !self.announces => continue,
                Show::Note(note) if !self.is_news(&note) => continue,
                Show::Note(note) | Show::Moved(note) => Piece::Note(note),
            };
            if !matches!(&piece, Piece::Output(bytes) if bytes.is_empty()) {
                self.print.send(piece).await?;
            }
        }
        Ok(())
    }
}

/// Whether nothing follows this answer about an instance that ended so long ago.
fn is_last(answer: &Result<LogPart, Error>, over: Duration) -> bool {
    match answer {
        Ok(part) => part.ended || (part.is_empty() && !part.more),
        Err(Error::Refused { code: code::NOT_FOUND, .. }) => true,
        Err(_) => over >= LAST_WORDS_MAX,
    }
}
