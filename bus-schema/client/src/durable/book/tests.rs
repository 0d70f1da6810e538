//! What a book says of deliveries, one case after the other.

use super::*;
use dsbus_schema::event::{Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{FleetName, WorkerName};
use uuid::Uuid;

/// A delivery of the event that was stored then, in milliseconds.
fn stored(seq: u64, time: i128) -> Delivery {
    let time = Timestamp::from_unix_nanos(time * 1_000_000);
    Delivery { seq, number: seq, tries: 1, time, pending: 0 }
}

/// Delivers it, and tells it where it is new.
fn deliver(book: &mut Book, delivery: &Delivery, reply: &str) -> Fate {
    let fate = book.delivered(delivery, reply);
    if let Fate::New(number) = fate {
        let worker = WorkerName::parse("w1").unwrap();
        let source = Source::Worker(worker.clone());
        let (change, reason) = (WorkerChange::Started, None);
        let fact =
            Fact::Worker(WorkerFact { worker, change, reason, incarnation: None, dropped: None });
        let (id, time) = (Uuid::from_u128(u128::from(delivery.seq)), delivery.time);
        let event = Event::new(&FleetName::default(), &source, id, time, fact);
        let Delivery { seq, time, tries, .. } = *delivery;
        book.arrived(Arrival { event, seq, time, tries, number });
    }
    fate
}

/// One that shares, and so tells as it comes.
fn sharing() -> Book {
    Book::new(false)
}

/// One that reads alone, and has gathered.
fn alone() -> Book {
    let mut book = Book::new(true);
    assert!(book.gather(0));
    book
}

fn said(book: &mut Book) -> Vec<(String, &'static str)> {
    book.words().into_iter().map(|word| (word.reply, word.text)).collect()
}

fn handed_out(book: &mut Book) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| book.next()).map(|arrival| (arrival.seq, arrival.number)).collect()
}

#[test]
fn what_is_held_or_done_is_told_once() {
    let mut book = sharing();
    let (three, five) = (stored(3, 3), stored(5, 5));
    assert_eq!(deliver(&mut book, &three, "a"), Fate::New(1));
    assert_eq!(deliver(&mut book, &five, "b"), Fate::New(2));
    assert_eq!(deliver(&mut book, &three, "c"), Fate::Held, "another leader delivered it again");
    assert_eq!(handed_out(&mut book), [(3, 1), (5, 2)]);
    book.settle(3, 1, true);
    assert_eq!(said(&mut book), [("c".to_owned(), "+ACK")], "spoken of as delivered last");
    assert_eq!(deliver(&mut book, &three, "d"), Fate::Done);
    assert_eq!(said(&mut book), [("d".to_owned(), "+ACK")]);
    book.settle(5, 2, false);
    assert_eq!(said(&mut book), [("b".to_owned(), "-NAK")]);
    assert_eq!(deliver(&mut book, &five, "e"), Fate::New(3), "it was given back");
    book.settle(5, 2, true);
    assert_eq!(said(&mut book), [], "what was given back is not done any more");
    assert_eq!(handed_out(&mut book), [(5, 3)]);
}

#[test]
fn another_event_under_an_old_sequence_is_new() {
    let mut book = alone();
    for seq in 1..=3 {
        deliver(&mut book, &stored(seq, 10), "a");
    }
    assert_eq!(handed_out(&mut book), [(1, 1), (2, 2), (3, 3)]);
    book.settle(1, 1, true);
    said(&mut book);
    // Nobody has seen yet that the stream is another one.
    assert_eq!(deliver(&mut book, &stored(1, 20), "b"), Fate::New(4), "done was another one");
    assert_eq!(deliver(&mut book, &stored(2, 20), "c"), Fate::New(5), "so is the one that is held");
    book.settle(2, 2, true);
    assert_eq!(said(&mut book), [], "the old one is done, which is nothing to NATS");
    assert_eq!(handed_out(&mut book), [(1, 4), (2, 5)]);
    book.settle(2, 5, true);
    assert_eq!(said(&mut book), [("c".to_owned(), "+ACK")]);
}

#[test]
fn a_stream_that_was_made_anew_is_read_from_its_begin() {
    let mut book = alone();
    for seq in 1..=5 {
        deliver(&mut book, &stored(seq, 10), "a");
    }
    assert_eq!(book.next().map(|arrival| arrival.seq), Some(1));
    book.settle(1, 1, true);
    book.made_anew();
    assert_eq!(book.begin(Begin::New), Begin::Sequence(1));
    assert_eq!((book.len(), book.last()), (0, 0));
    assert_eq!(said(&mut book), [], "a word would be about another event");
    assert_eq!(deliver(&mut book, &stored(1, 20), "b"), Fate::New(6));
    assert!(book.gather(1));
    let seqs: Vec<u64> = handed_out(&mut book).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 1], "nobody else tells what was delivered before");
    book.settle(3, 3, true);
    assert_eq!(said(&mut book), []);
}

#[test]
fn a_stream_that_went_back_goes_on_with_what_was_stored_since() {
    let mut book = alone();
    deliver(&mut book, &stored(1, 10), "a");
    deliver(&mut book, &stored(2, 20), "b");
    deliver(&mut book, &stored(3, 30), "c");
    handed_out(&mut book);
    for seq in 1..=3 {
        book.settle(seq, seq, true);
    }
    assert_eq!(book.last(), 3);
    book.went_back();
    assert_eq!(book.last(), 0);
    let since = Begin::Time(Timestamp::from_unix_nanos(30_000_000));
    assert_eq!(book.begin(Begin::New), since, "where its end is now cannot be known");
    assert_eq!(deliver(&mut book, &stored(2, 20), "d"), Fate::Done, "what is left of it");
    assert_eq!(deliver(&mut book, &stored(3, 40), "e"), Fate::New(4));
}

#[test]
fn a_consumer_that_is_made_anew_passes_nothing() {
    let mut book = alone();
    assert_eq!(book.begin(Begin::New), Begin::New, "nothing is known");
    book.acknowledged(7);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(8), "nothing came, and it was there");
    for seq in [8, 10, 12] {
        deliver(&mut book, &stored(seq, 1), "a");
    }
    assert_eq!(book.begin(Begin::New), Begin::Sequence(8), "held");
    book.settle(8, 1, true);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(10));
    book.settle(12, 3, true);
    book.settle(10, 2, false);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(10), "given back");
    deliver(&mut book, &stored(10, 1), "b");
    book.settle(10, 4, true);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(13));
    deliver(&mut book, &stored(13, 1), "c");
    book.settle(13, 5, false);
    book.acknowledged(20);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(21), "another reader has done it");
    // What another one has is not known, nor what was lost on its way.
    let mut book = sharing();
    book.acknowledged(7);
    deliver(&mut book, &stored(9, 1), "a");
    book.settle(9, 1, true);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(8));
}

#[test]
fn what_was_lost_on_its_way_comes_before_what_follows() {
    let mut book = alone();
    deliver(&mut book, &stored(1, 1), "a");
    // The deliveries of 2 and 3 are lost.
    book.cut_off();
    deliver(&mut book, &stored(4, 1), "b");
    assert_eq!(handed_out(&mut book), [(1, 1)]);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(1));
    book.settle(1, 1, true);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(2), "not behind what may be missing");
    assert!(!book.gather(3));
    deliver(&mut book, &stored(3, 1), "c");
    deliver(&mut book, &stored(2, 1), "d");
    assert!(book.has_gathered() && book.gather(3) && !book.has_gathered());
    assert_eq!(handed_out(&mut book), [(2, 4), (3, 3), (4, 2)]);
    let mut book = sharing();
    book.cut_off();
    deliver(&mut book, &stored(4, 1), "b");
    assert_eq!(handed_out(&mut book), [(4, 1)], "those who share have no order");
}

#[test]
fn what_was_not_handed_out_is_given_back_to_the_next_reader() {
    let mut book = alone();
    for seq in 1..=3 {
        deliver(&mut book, &stored(seq, 1), &seq.to_string());
    }
    assert_eq!(book.next().map(|arrival| arrival.seq), Some(1));
    book.cut_off();
    deliver(&mut book, &stored(4, 1), "4");
    book.unpinned();
    assert_eq!(said(&mut book), ["2", "3", "4"].map(|reply| (reply.to_owned(), "-NAK")));
    assert_eq!(book.working().len(), 1, "what was handed out is worked on");
    assert!(book.gather(1));
    assert_eq!(handed_out(&mut book), []);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(1));
}

#[test]
fn what_is_not_meant_is_done() {
    let mut book = Book::new(true);
    book.skipped(&stored(1, 1), "a");
    deliver(&mut book, &stored(2, 1), "b");
    assert_eq!(said(&mut book), []);
    assert!(!book.gather(3) && book.gather(2), "it counts as long as NATS counts it");
    assert_eq!(said(&mut book), [("a".to_owned(), "+ACK")]);
    assert_eq!(handed_out(&mut book), [(2, 2)]);
    book.settle(2, 2, true);
    said(&mut book);
    book.skipped(&stored(3, 1), "c");
    assert_eq!(said(&mut book), [("c".to_owned(), "+ACK")]);
    assert_eq!(book.begin(Begin::New), Begin::Sequence(4));
    let mut book = Book::new(true);
    book.skipped(&stored(1, 1), "a");
    book.unpinned();
    assert_eq!(said(&mut book), [("a".to_owned(), "-NAK")]);
}

#[test]
fn what_could_not_be_said_is_said_first() {
    let mut book = sharing();
    for (seq, reply) in [(1, "a"), (2, "b"), (3, "c")] {
        deliver(&mut book, &stored(seq, 1), reply);
    }
    book.settle(1, 1, true);
    let words = book.words();
    book.settle(2, 2, true);
    book.unsaid(words);
    book.give_back();
    let all = [("a", "+ACK"), ("b", "+ACK"), ("c", "-NAK")];
    assert_eq!(said(&mut book), all.map(|(reply, text)| (reply.to_owned(), text)));
    assert_eq!((book.len(), handed_out(&mut book).len()), (0, 0));
}

#[test]
fn what_is_held_is_worked_on() {
    let mut book = sharing();
    deliver(&mut book, &stored(1, 1), "a");
    deliver(&mut book, &stored(2, 1), "b");
    book.settle(1, 1, false);
    assert_eq!(book.working(), [Word { reply: "b".to_owned(), text: "+WPI" }]);
}
