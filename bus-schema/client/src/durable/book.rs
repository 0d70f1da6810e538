//! What a reader holds, what it is done with, what waits to be handed out, and where a consumer
//! begins that must be made anew. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dsbus_schema::event::Event;
use dsbus_schema::moment::Timestamp;

use super::Begin;
use crate::consumer::Delivery;

/// Events that are remembered as done: NATS delivers again what it had not heard to be done when
/// it elected another leader, and it hears of everything within moments.
const DONE_MAX: usize = 4096;

/// What is to be done with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is told, under this number.
    New(u64),
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

/// An event that was delivered, and not handed out yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrival {
    pub(super) event: Event,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) tries: u64,
    /// What [`Fate::New`] gave.
    pub(super) number: u64,
}

/// A delivery that is neither done nor given back.
#[derive(Debug)]
struct Holding {
    reply: String,
    /// When the event was stored. Where a stream was made anew, or lost its end, other events have
    /// the same sequences.
    time: Timestamp,
    number: u64,
}

/// The book of one reader. It is bounded by the consumer's window: what is neither done nor given
/// back keeps NATS from delivering more.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Whether it reads alone, and in the order of the stream.
    alone: bool,
    held: BTreeMap<u64, Holding>,
    done: BTreeSet<(u64, Timestamp)>,
    /// The order in which they were done.
    recent: VecDeque<(u64, Timestamp)>,
    /// What was given back and did not come again; it may have gone to another reader since.
    back: BTreeMap<u64, Timestamp>,
    words: VecDeque<Word>,
    /// What is to be handed out.
    waiting: VecDeque<Arrival>,
    /// What comes before all is here that was delivered already, to an earlier reader or into a
    /// connection that broke; then it waits in its order, because NATS keeps none among events that
    /// come again. Nothing for those that are not meant.
    gathered: Option<BTreeMap<u64, Option<Arrival>>>,
    /// Up to here all is done with by somebody, or is held or was given back here.
    floor: Option<u64>,
    /// What was stored later is new, after the stream went back.
    since: Option<Timestamp>,
    /// The greatest sequence that was heard of, and when that was stored that came last.
    last: u64,
    newest: Option<Timestamp>,
    numbers: u64,
}

impl Book {
    /// One who reads alone first gathers.
    pub(super) fn new(alone: bool) -> Book {
        Book { alone, gathered: alone.then(BTreeMap::new), ..Book::default() }
    }

    /// A delivery came that is meant.
    pub(super) fn delivered(&mut self, delivery: &Delivery, reply: &str) -> Fate {
        let Delivery { seq, time, .. } = *delivery;
        self.heard_of(seq, time);
        if self.done.contains(&(seq, time)) {
            self.words.push_back(Word { reply: reply.to_owned(), text: ACK });
            return Fate::Done;
        }
        if let Some(holding) = self.held.get_mut(&seq).filter(|holding| holding.time == time) {
            reply.clone_into(&mut holding.reply);
            return Fate::Held;
        }
        Fate::New(self.hold(delivery, reply))
    }

    /// A delivery came that is not meant.
    pub(super) fn skipped(&mut self, delivery: &Delivery, reply: &str) {
        let Delivery { seq, time, .. } = *delivery;
        self.heard_of(seq, time);
        if let Some(holding) = self.held.get_mut(&seq).filter(|holding| holding.time == time) {
            reply.clone_into(&mut holding.reply);
            return;
        }
        if self.gathered.is_some() {
            // What NATS counts as delivered is counted here, too.
            self.hold(delivery, reply);
            self.gathered.iter_mut().for_each(|gathered| drop(gathered.insert(seq, None)));
            return;
        }
        self.words.push_back(Word { reply: reply.to_owned(), text: ACK });
        self.passed(seq);
    }

    /// The event of a delivery that is new.
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        match &mut self.gathered {
            Some(gathered) => drop(gathered.insert(arrival.seq, Some(arrival))),
            None => {
                self.passed(arrival.seq);
                self.waiting.push_back(arrival);
            }
        }
    }

    /// The next one to hand out.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        self.waiting.pop_front()
    }

    /// It is done with, or given back; unless the stream is another one since, or it went to
    /// another reader.
    pub(super) fn settle(&mut self, seq: u64, number: u64, done: bool) {
        if self.held.get(&seq).is_none_or(|holding| holding.number != number) {
            return;
        }
        let Some(Holding { reply, time, .. }) = self.held.remove(&seq) else { return };
        self.words.push_back(Word { reply, text: if done { ACK } else { NAK } });
        if !done {
            self.back.insert(seq, time);
            return;
        }
        self.done.insert((seq, time));
        self.recent.push_back((seq, time));
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
        let replies = self.held.values().map(|holding| holding.reply.clone());
        replies.map(|reply| Word { reply, text: WORKING }).collect()
    }

    /// Gives back everything that is held, oldest first: so it comes again in its order.
    pub(super) fn give_back(&mut self) {
        let held: Vec<_> = self.held.iter().map(|(seq, holding)| (*seq, holding.number)).collect();
        for (seq, number) in held {
            self.settle(seq, number, false);
        }
        self.waiting.clear();
        self.gathered = self.alone.then(BTreeMap::new);
    }

    /// Another one reads now: what was not handed out is given back, oldest first.
    pub(super) fn unpinned(&mut self) {
        let gathered = self.gathered.take().unwrap_or_default().into_keys();
        let mut all: BTreeMap<u64, u64> =
            gathered.filter_map(|seq| Some((seq, self.held.get(&seq)?.number))).collect();
        // By number: of a stream that is no more nobody else has it.
        let held = |a: &Arrival| self.held.get(&a.seq).is_some_and(|h| h.number == a.number);
        self.waiting.retain(|arrival| {
            if held(arrival) {
                all.insert(arrival.seq, arrival.number);
            }
            !held(arrival)
        });
        for (seq, number) in all {
            self.settle(seq, number, false);
        }
        self.gathered = self.alone.then(BTreeMap::new);
    }

    /// Deliveries may have been lost on their way: they come again after later ones.
    pub(super) fn cut_off(&mut self) {
        if self.alone {
            self.gathered.get_or_insert_default();
        }
    }

    /// Whether something was gathered.
    pub(super) fn has_gathered(&self) -> bool {
        self.gathered.as_ref().is_some_and(|gathered| !gathered.is_empty())
    }

    /// NATS has delivered so many that it has not heard to be done. Where all of them are here, what
    /// was gathered is handed out; whether it is.
    pub(super) fn gather(&mut self, pending: u64) -> bool {
        if pending > self.held.len() as u64 {
            return false;
        }
        self.hand_out_gathered();
        true
    }

    /// NATS knows that everything up to here is done.
    pub(super) fn acknowledged(&mut self, floor: u64) {
        self.reached(floor);
        self.back.retain(|seq, _| *seq > floor);
    }

    /// The greatest sequence that was heard of.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The stream is another one: all that is in it is new. What was delivered of the old one and
    /// not handed out is still told, because nobody else will.
    pub(super) fn made_anew(&mut self) {
        self.forget();
        self.done.clear();
        self.recent.clear();
        self.floor = Some(0);
    }

    /// The stream has lost its end, and may have other events in its place.
    pub(super) fn went_back(&mut self) {
        let held = self.held.values().map(|holding| holding.time);
        let since = held.chain(self.back.values().copied()).chain(self.newest).min();
        self.forget();
        self.since = since;
    }

    /// Where a consumer begins that is not there.
    pub(super) fn begin(&self, wanted: Begin) -> Begin {
        let Some(floor) = self.floor else { return self.since.map_or(wanted, Begin::Time) };
        let lowest = self.held.keys().chain(self.back.keys()).min();
        Begin::Sequence(lowest.map_or(floor + 1, |lowest| (*lowest).min(floor + 1)))
    }

    fn hold(&mut self, delivery: &Delivery, reply: &str) -> u64 {
        self.numbers += 1;
        let (reply, number) = (reply.to_owned(), self.numbers);
        self.held.insert(delivery.seq, Holding { reply, time: delivery.time, number });
        number
    }

    fn heard_of(&mut self, seq: u64, time: Timestamp) {
        self.back.remove(&seq);
        self.last = self.last.max(seq);
        self.newest = self.newest.max(Some(time));
    }

    /// One who reads alone has everything before this.
    fn passed(&mut self, seq: u64) {
        if self.alone {
            self.reached(seq);
        }
    }

    fn reached(&mut self, seq: u64) {
        self.floor = self.floor.max(Some(seq));
        self.last = self.last.max(seq);
    }

    fn hand_out_gathered(&mut self) {
        for (seq, arrival) in self.gathered.take().unwrap_or_default() {
            match arrival {
                Some(arrival) => self.waiting.push_back(arrival),
                None => {
                    let number = self.held.get(&seq).map_or(0, |holding| holding.number);
                    self.settle(seq, number, true);
                }
            }
            self.passed(seq);
        }
    }

    /// What it was said to NATS is about other events now: a word about one of them would be wrong.
    fn forget(&mut self) {
        self.hand_out_gathered();
        self.gathered = self.alone.then(BTreeMap::new);
        self.held.clear();
        self.back.clear();
        self.words.clear();
        (self.floor, self.since, self.last, self.newest) = (None, None, 0, None);
    }
}

#[cfg(test)]
mod tests;
