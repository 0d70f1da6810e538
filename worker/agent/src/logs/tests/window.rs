use dsbus_schema::call::{WindowAsk, WindowFrom};

use super::*;
use crate::logs::window;

#[test]
fn a_window_is_of_the_file_that_is_written_now() {
    let log = Log::new();
    let look = |from, bytes, most| {
        let name = Some("web:0".parse().unwrap());
        let ask = WindowAsk { name, channel: Channel::Stdout, from, bytes };
        let found = window(log.directory.path(), &ask, most).unwrap()?;
        let more = found.part.more;
        let text = String::from_utf8(found.part.into_output()).unwrap();
        Some((found.offset, found.size, text, more))
    };
    let is = |offset, size, text: &str, more| Some((offset, size, text.to_owned(), more));
    assert_eq!(look(WindowFrom::Last(9), 9, 99), None);
    log.write("older\n");
    log.rotate();
    assert_eq!(look(WindowFrom::Last(9), 9, 99), is(0, 0, "", false));
    log.write("0123456789");
    for (from, bytes, most, expected) in [
        (WindowFrom::Last(4), 4, 99, is(6, 10, "6789", false)),
        (WindowFrom::Last(40), 40, 99, is(0, 10, "0123456789", false)),
        (WindowFrom::Last(4), 2, 99, is(6, 10, "67", false)),
        (WindowFrom::Last(4), 4, 3, is(6, 10, "678", true)),
        (WindowFrom::Last(0), 0, 99, is(10, 10, "", false)),
        (WindowFrom::Offset(3), 4, 99, is(3, 10, "3456", false)),
        (WindowFrom::Offset(3), u64::MAX, 99, is(3, 10, "3456789", false)),
        (WindowFrom::Offset(3), u64::MAX, 4, is(3, 10, "3456", true)),
        (WindowFrom::Offset(10), 4, 99, is(10, 10, "", false)),
        (WindowFrom::Offset(u64::MAX), 4, 99, is(10, 10, "", false)),
    ] {
        assert_eq!(look(from, bytes, most), expected, "{from:?} {bytes} {most}");
    }
}

#[test]
fn what_follows_a_window_can_be_asked_for() {
    let log = Log::new();
    log.write("0123456789");
    let name = Some("web:0".parse().unwrap());
    let from = WindowFrom::Last(3);
    let ask = WindowAsk { name, channel: Channel::Stdout, from, bytes: 3 };
    let found = window(log.directory.path(), &ask, 99).unwrap().unwrap();
    log.write("ab");
    log.rotate();
    log.write("cd");
    let next = log.ask(LogFrom::Place(found.part.next));
    assert_eq!((next.text.as_str(), next.skipped), ("abcd", false));
}
