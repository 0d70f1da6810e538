//! Which events a reader holds, and which it is done with. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Sequences that are remembered as done: NATS delivers again what it had not heard to be done when
/// it elected another leader, and it hears of everything within moments.
const DONE_MAX: usize = 4096;

/// What is to be done with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is told.
    New,
    /// It is held already, and only says how to speak of it from now on.
    Held,
    /// It was done with; NATS has not heard so.
    Done,
}

/// Something to say to NATS about a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Where to.
    pub(super) reply: String,
    /// What.
    pub(super) text: &'static str,
}

/// Done: does not come again.
const ACK: &str = "+ACK";
/// Not done: comes again at once.
const NAK: &str = "-NAK";
/// Not done yet: does not come again for another `ack_wait`.
const WORKING: &str = "+WPI";

/// The book of one reader. It is bounded by the consumer's window: what is neither done nor given
/// back keeps NATS from delivering more.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: BTreeMap<u64, String>,
    done: BTreeSet<u64>,
    /// The order in which they were done.
    recent: VecDeque<u64>,
    words: VecDeque<Word>,
    /// The greatest sequence that was delivered.
    last: u64,
}

impl Book {
    /// A delivery came.
    pub(super) fn delivered(&mut self, seq: u64, reply: &str) -> Fate {
        self.last = self.last.max(seq);
        if self.done.contains(&seq) {
            self.words.push_back(Word { reply: reply.to_owned(), text: ACK });
            return Fate::Done;
        }
        match self.held.insert(seq, reply.to_owned()) {
            Some(_) => Fate::Held,
            None => Fate::New,
        }
    }

    /// It is done with, or given back.
    pub(super) fn settle(&mut self, seq: u64, done: bool) {
        let Some(reply) = self.held.remove(&seq) else { return };
        self.words.push_back(Word { reply, text: if done { ACK } else { NAK } });
        if !done {
            return;
        }
        self.done.insert(seq);
        self.recent.push_back(seq);
        if self.recent.len() > DONE_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.done.remove(&oldest);
        }
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// What is to be said, each once.
    pub(super) fn words(&mut self) -> VecDeque<Word> {
        std::mem::take(&mut self.words)
    }

    /// What was taken to be said and could not be.
    pub(super) fn unsaid(&mut self, mut words: VecDeque<Word>) {
        words.append(&mut self.words);
        self.words = words;
    }

    /// That everything that is held is still worked on.
    pub(super) fn working(&self) -> Vec<Word> {
        self.held.values().map(|reply| Word { reply: reply.clone(), text: WORKING }).collect()
    }

    /// Gives back everything that is held, oldest first: so it comes again in its order.
    pub(super) fn give_back(&mut self) {
        let held: Vec<u64> = self.held.keys().copied().collect();
        for seq in held {
            self.settle(seq, false);
        }
    }

    /// The first sequence that is not known to be done; a consumer that is made anew begins there.
    /// Nothing, when nothing was delivered yet.
    pub(super) fn next(&self) -> Option<u64> {
        let oldest = self.held.keys().next().copied();
        (self.last > 0).then(|| oldest.unwrap_or(self.last + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(book: &mut Book) -> Vec<(String, &'static str)> {
        book.words().into_iter().map(|word| (word.reply, word.text)).collect()
    }

    #[test]
    fn what_is_held_or_done_is_told_once() {
        let mut book = Book::default();
        assert_eq!(book.next(), None);
        assert_eq!(book.delivered(3, "a"), Fate::New);
        assert_eq!(book.delivered(5, "b"), Fate::New);
        assert_eq!(book.delivered(3, "c"), Fate::Held, "another leader delivered it again");
        assert_eq!(book.next(), Some(3));
        book.settle(3, true);
        assert_eq!(said(&mut book), [("c".to_owned(), "+ACK")], "spoken of as delivered last");
        assert_eq!(book.delivered(3, "d"), Fate::Done);
        assert_eq!(said(&mut book), [("d".to_owned(), "+ACK")]);
        assert_eq!(book.next(), Some(5));
        book.settle(5, false);
        assert_eq!(said(&mut book), [("b".to_owned(), "-NAK")]);
        assert_eq!(book.next(), Some(6));
        assert_eq!(book.delivered(5, "e"), Fate::New, "it was given back");
    }

    #[test]
    fn what_could_not_be_said_is_said_first() {
        let mut book = Book::default();
        for (seq, reply) in [(1, "a"), (2, "b"), (3, "c")] {
            book.delivered(seq, reply);
        }
        book.settle(1, true);
        let words = book.words();
        book.settle(2, true);
        book.unsaid(words);
        book.give_back();
        let all = [("a", "+ACK"), ("b", "+ACK"), ("c", "-NAK")];
        assert_eq!(said(&mut book), all.map(|(reply, text)| (reply.to_owned(), text)));
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn what_is_held_is_worked_on() {
        let mut book = Book::default();
        book.delivered(1, "a");
        book.delivered(2, "b");
        book.settle(1, false);
        assert_eq!(book.working(), [Word { reply: "b".to_owned(), text: "+WPI" }]);
    }
}
