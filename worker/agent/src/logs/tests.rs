mod epochs;
mod rotated;
mod window;

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use dsbus_schema::call::{Channel, LOG_BYTES_MAX};

use super::*;

struct Log {
    directory: tempfile::TempDir,
    held: Held,
}

impl Log {
    fn new() -> Log {
        let log = Log { directory: tempfile::tempdir().unwrap(), held: Held::default() };
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

    /// As the supervisor does, from the oldest on; each may be compressed.
    fn rotate(&self) {
        for number in (1..9).rev() {
            for suffix in ["", ".gz"] {
                let from = self.path(&format!(".{number}{suffix}"));
                if from.exists() {
                    fs::rename(from, self.path(&format!(".{}{suffix}", number + 1))).unwrap();
                }
            }
        }
        fs::rename(self.path(""), self.path(".1")).unwrap();
        self.write("");
    }

    /// As the supervisor does.
    fn compress(&self, number: u32) {
        let (plain, packed) =
            (self.path(&format!(".{number}")), self.path(&format!(".{number}.gz")));
        let input = File::open(&plain).unwrap();
        let written = input.metadata().unwrap().modified().unwrap();
        let output = File::create(&packed).unwrap();
        output.set_modified(written).unwrap();
        let mut command = Command::new("gzip");
        command.arg("-c").stdin(input).stdout(Stdio::from(output.try_clone().unwrap()));
        assert!(command.status().unwrap().success());
        output.set_modified(written).unwrap();
        fs::remove_file(plain).unwrap();
    }

    fn found(&self, ask: &LogAsk, most: usize) -> Found {
        read(self.directory.path(), ask, most, &self.held).unwrap()
    }

    fn part(&self, ask: &LogAsk, most: usize) -> LogPart {
        match self.found(ask, most) {
            Found::Part(part) => part,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, from: LogFrom) -> LogPart {
        self.part(&ask(from), LOG_BYTES_MAX)
    }

    /// All of the last lines, and whether some are left out.
    fn last(&self, lines: u32) -> (String, bool) {
        let first = self.ask(LogFrom::Last(lines));
        let (mut place, skipped) = (first.next, first.skipped);
        let rest = if first.more { self.follow(&mut place).0 } else { String::new() };
        (String::from_utf8(first.into_output()).unwrap() + &rest, skipped)
    }

    /// Everything after a place, and how often parts were skipped.
    fn follow(&self, place: &mut LogPlace) -> (String, u32) {
        let (output, skips) = self.follow_by(place, LOG_BYTES_MAX);
        (String::from_utf8(output).unwrap(), skips)
    }

    fn follow_by(&self, place: &mut LogPlace, most: usize) -> (Vec<u8>, u32) {
        let (mut output, mut skips) = (Vec::new(), 0);
        loop {
            let part = self.part(&ask(LogFrom::Place(*place)), most);
            skips += u32::from(part.skipped);
            *place = part.next;
            let more = part.more;
            output.extend(part.into_output());
            if !more {
                return (output, skips);
            }
        }
    }

    /// Another agent comes: it holds no files.
    fn forget(&self) {
        self.held.clear();
    }
}

fn ask(from: LogFrom) -> LogAsk {
    LogAsk::new("web:0".parse().unwrap(), from)
}

fn nothing(text: &str) -> (String, u32) {
    (text.to_owned(), 0)
}

#[test]
fn the_last_lines() {
    let log = Log::new();
    assert_eq!(log.last(10), (String::new(), false), "nothing was written yet");
    log.write("a\nb\nc\n");
    for (lines, text) in [(0, ""), (1, "c\n"), (2, "b\nc\n"), (3, "a\nb\nc\n"), (9, "a\nb\nc\n")] {
        assert_eq!(log.last(lines), (text.to_owned(), false), "{lines}");
    }
    log.write("d");
    assert_eq!(log.last(2).0, "c\nd");
}

#[test]
fn the_last_lines_may_take_several_parts() {
    let log = Log::new();
    let line = format!("{}\n", "x".repeat(999));
    log.write(line.repeat(300));
    assert_eq!(log.last(299), (line.repeat(299), false));
    let part = log.ask(LogFrom::Last(300));
    assert!(part.more && part.text.len() == LOG_BYTES_MAX);
}

#[test]
fn a_reader_that_came_before_the_first_byte_misses_none() {
    let log = Log::new();
    let mut place = log.ask(LogFrom::Last(10)).next;
    assert_eq!(log.follow(&mut place), nothing(""));
    log.write("a\n");
    assert_eq!(log.follow(&mut place), nothing("a\n"));
    assert_eq!(log.follow(&mut place), nothing(""));
}

#[test]
fn long_output_is_followed_piece_by_piece_without_breaking_characters() {
    let log = Log::new();
    let written = format!("x{}", "€".repeat(LOG_BYTES_MAX));
    log.write(&written);
    let mut place = LogPlace::default();
    let part = log.ask(LogFrom::Place(place));
    assert!(part.base64.is_none() && part.more && part.text.len() > LOG_BYTES_MAX - 3);
    assert_eq!(log.follow(&mut place), nothing(&written));
    // Whoever wrote half a character may never write the other half.
    log.write(&"€".as_bytes()[..2]);
    assert_eq!(log.follow_by(&mut place, 100), ("€".as_bytes()[..2].to_vec(), 0));
    log.write(&"€".as_bytes()[2..]);
    assert_eq!(log.follow_by(&mut place, 100), ("€".as_bytes()[2..].to_vec(), 0));
}

#[test]
fn bytes_that_are_no_text_come_through() {
    let log = Log::new();
    let noise: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    log.write(&noise);
    for most in [1, 3, 1000] {
        assert_eq!(log.follow_by(&mut LogPlace::default(), most), (noise.clone(), 0), "{most}");
    }
}

#[test]
fn an_instance_without_a_log_has_none() {
    let log = Log::new();
    std::os::unix::fs::symlink("/dev/null", log.path("")).unwrap();
    assert_eq!(log.found(&ask(LogFrom::Last(1)), 100), Found::Nothing);
    let unknown = LogAsk::new("web:1".parse().unwrap(), LogFrom::Last(1));
    assert_eq!(log.found(&unknown, 100), Found::Nothing);
}

#[test]
fn each_channel_is_read_for_itself() {
    let log = Log::new();
    log.write("out\n");
    fs::write(log.path("").with_file_name("stderr.log"), "err\n").unwrap();
    let both = [Channel::Stdout, Channel::Stderr]
        .map(|channel| log.part(&LogAsk { channel, ..ask(LogFrom::Last(5)) }, 100).text);
    assert_eq!(both, ["out\n", "err\n"]);
}

#[test]
fn a_glance_sees_what_makes_a_difference() {
    let log = Log::new();
    let mut last = None;
    let mut changed = || {
        let glance = Some(Glance::at(log.directory.path(), &ask(LogFrom::Last(0))));
        std::mem::replace(&mut last, glance) != last
    };
    assert!(changed() && !changed());
    log.write("a");
    assert!(changed() && !changed());
    log.write("b");
    assert!(changed() && !changed());
    log.rotate();
    assert!(changed() && !changed());
    fs::write(log.path("").with_file_name("epochs"), "{\"epoch\":1}\n").unwrap();
    assert!(changed() && !changed());
}
