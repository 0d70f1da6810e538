use std::fs;
use std::io::Write;

use dsbus_schema::call::Channel;

use super::*;

struct Log {
    directory: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        let log = Log { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(log.path("").parent().unwrap()).unwrap();
        log
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("instances/web.0/stdout.log{suffix}"))
    }

    fn write(&self, bytes: impl AsRef<[u8]>) {
        let file = File::options().create(true).append(true).open(self.path(""));
        file.unwrap().write_all(bytes.as_ref()).unwrap();
    }

    fn rotate(&self) {
        for number in (1..5).rev() {
            let from = self.path(&format!(".{number}"));
            if from.exists() {
                fs::rename(from, self.path(&format!(".{}", number + 1))).unwrap();
            }
        }
        fs::rename(self.path(""), self.path(".1")).unwrap();
    }

    fn ask(&self, from: LogFrom) -> LogPart {
        let ask = LogAsk { name: "web:0".parse().unwrap(), channel: Channel::Stdout, from };
        read(self.directory.path(), &ask).unwrap().unwrap()
    }

    fn last(&self, lines: u32) -> String {
        self.ask(LogFrom::Last(lines)).text
    }

    /// Everything after a place, and how often parts were skipped.
    fn follow(&self, place: &mut LogPlace) -> (String, u32) {
        let (mut text, mut skips) = (String::new(), 0);
        loop {
            let part = self.ask(LogFrom::Place(*place));
            text += &part.text;
            skips += u32::from(part.skipped);
            *place = part.next;
            if !part.more {
                return (text, skips);
            }
        }
    }
}

#[test]
fn the_last_lines() {
    let log = Log::new();
    assert_eq!(log.last(10), "", "nothing was written yet");
    log.write("a\nb\nc\n");
    assert_eq!(log.last(0), "");
    assert_eq!(log.last(2), "b\nc\n");
    assert_eq!(log.last(9), "a\nb\nc\n");
    log.write("d");
    assert_eq!(log.last(2), "c\nd");
}

#[test]
fn the_last_lines_reach_over_rotations() {
    let log = Log::new();
    for text in ["1\n2\n", "3\n", "4\n5\n"] {
        log.write(text);
        log.rotate();
    }
    assert_eq!(log.last(2), "4\n5\n", "no current file yet");
    log.write("6\n");
    assert_eq!(log.last(4), "3\n4\n5\n6\n");
    assert_eq!(log.last(99), "1\n2\n3\n4\n5\n6\n");
}

#[test]
fn long_output_is_cut_to_the_limit() {
    let log = Log::new();
    log.write("ä".repeat(LOG_BYTES_MAX));
    let text = log.last(1);
    assert!(text.len() <= LOG_BYTES_MAX && text.len() > LOG_BYTES_MAX - 4);
    assert!(text.chars().all(|c| c == 'ä'));
    let log = Log::new();
    log.write(vec![0; LOG_BYTES_MAX]);
    let text = log.last(1);
    assert!(!text.is_empty() && serde_json::to_string(&text).unwrap().len() <= JSON_BYTES_MAX);
}

#[test]
fn output_that_was_cut_begins_with_a_line_and_says_so() {
    let log = Log::new();
    let line = format!("{}\n", "x".repeat(999));
    log.write(line.repeat(300));
    let part = log.ask(LogFrom::Last(300));
    assert!(part.skipped);
    assert_eq!(part.text, line.repeat(LOG_BYTES_MAX / 1000));
    let part = log.ask(LogFrom::Last(10));
    assert_eq!((part.text, part.skipped), (line.repeat(10), false));
    assert!(!log.ask(LogFrom::Last(0)).skipped);
}

#[test]
fn a_reader_follows_over_rotations() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    assert_eq!(log.follow(&mut place), (String::new(), 0));
    log.write("b\n");
    assert_eq!(log.follow(&mut place), ("b\n".to_owned(), 0));
    log.write("c\n");
    log.rotate();
    log.write("d\n");
    log.rotate();
    assert_eq!(log.follow(&mut place), ("c\nd\n".to_owned(), 0));
    log.write("e\n");
    assert_eq!(log.follow(&mut place), ("e\n".to_owned(), 0));
}

#[test]
fn a_reader_that_was_left_behind_is_told() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    place.file += 1_000_000_000;
    log.write("b\n");
    assert_eq!(log.follow(&mut place), ("a\nb\n".to_owned(), 1));
    // Truncated in place, or another file under the same inode.
    File::create(log.path("")).unwrap().write_all(b"x\n").unwrap();
    assert_eq!(log.follow(&mut place), ("x\n".to_owned(), 1));
}

#[test]
fn a_reader_that_came_before_the_first_byte_misses_none() {
    let log = Log::new();
    let mut place = log.ask(LogFrom::Last(10)).next;
    assert_eq!(log.follow(&mut place), (String::new(), 0));
    log.write("a\n");
    assert_eq!(log.follow(&mut place), ("a\n".to_owned(), 0));
}

#[test]
fn long_output_is_followed_piece_by_piece_without_breaking_characters() {
    let log = Log::new();
    let written = format!("x{}", "€".repeat(LOG_BYTES_MAX));
    log.write(&written);
    let mut place = LogPlace { file: 0, offset: 0 };
    assert_eq!(log.follow(&mut place), (written, 0));
    // A character that is half written waits for its end.
    log.write(&"€".as_bytes()[..2]);
    assert_eq!(log.follow(&mut place), (String::new(), 0));
    assert_eq!(log.last(1).chars().last(), Some('€'));
    log.write(&"€".as_bytes()[2..]);
    assert_eq!(log.follow(&mut place), ("€".to_owned(), 0));
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let log = Log::new();
    log.write(b"a\xFFb\x80\n");
    let mut place = LogPlace { file: 0, offset: 0 };
    assert_eq!(log.follow(&mut place), ("a\u{FFFD}b\u{FFFD}\n".to_owned(), 0));
}

#[test]
fn a_log_that_is_elsewhere_is_followed_with_its_rotated_files() {
    let log = Log::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("web.out");
    // What was logged here before belongs to an older declaration.
    fs::write(log.path(".1"), "old\n").unwrap();
    std::os::unix::fs::symlink(&target, log.path("")).unwrap();
    assert_eq!(log.last(9), "", "nothing was written yet");
    fs::write(&target, "b\n").unwrap();
    fs::write(elsewhere.path().join("web.out.1"), "a\n").unwrap();
    let mut place = log.ask(LogFrom::Last(0)).next;
    assert_eq!(log.last(9), "a\nb\n");
    fs::rename(&target, elsewhere.path().join("web.out.1")).unwrap();
    fs::write(&target, "c\n").unwrap();
    assert_eq!(log.follow(&mut place), ("c\n".to_owned(), 0));
}

#[test]
fn an_instance_without_a_log_has_none() {
    let log = Log::new();
    std::os::unix::fs::symlink("/dev/null", log.path("")).unwrap();
    let name = "web:0".parse().unwrap();
    let ask = LogAsk { name, channel: Channel::Stdout, from: LogFrom::Last(1) };
    assert_eq!(read(log.directory.path(), &ask).unwrap(), None);
}

#[test]
fn compressed_files_are_skipped_and_that_is_told() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    log.rotate();
    log.write("b\nc\n");
    fs::rename(log.path(".1"), log.path(".2.gz")).unwrap();
    fs::copy(log.path(""), log.path(".1")).unwrap();
    fs::write(log.path(""), "d\n").unwrap();
    for (lines, text, skipped) in
        [(0, "", false), (1, "d\n", false), (3, "b\nc\nd\n", false), (4, "b\nc\nd\n", true)]
    {
        let part = log.ask(LogFrom::Last(lines));
        assert_eq!((part.text.as_str(), part.skipped), (text, skipped), "{lines} lines");
    }
    // Not repeated, and not silent.
    place.file += 1_000_000_000;
    assert_eq!(log.follow(&mut place), ("b\nc\nd\n".to_owned(), 1));
    let mut begin = LogPlace { file: 0, offset: 0 };
    assert_eq!(log.follow(&mut begin), ("b\nc\nd\n".to_owned(), 1));
}

#[test]
fn an_unknown_instance_is_told() {
    let log = Log::new();
    let name = "web:1".parse().unwrap();
    let ask = LogAsk { name, channel: Channel::Stdout, from: LogFrom::Last(1) };
    assert_eq!(read(log.directory.path(), &ask).unwrap(), None);
}
