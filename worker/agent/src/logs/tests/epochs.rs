//! What belongs to which epoch.

use dsbus_schema::ids::Epoch;

use super::*;

impl Log {
    /// As the supervisor does before the first child of an epoch is heard.
    fn begin(&self, epoch: u64) {
        self.write("");
        let file = File::open(self.path("")).unwrap();
        let place = marks::place(&file, file.metadata().unwrap().len()).unwrap();
        self.line(&marks::Mark {
            epoch: Epoch(epoch),
            stdout: Some(place),
            stderr: None,
            over: false,
        });
    }

    fn over(&self, epoch: u64) {
        self.line(&marks::Mark { epoch: Epoch(epoch), stdout: None, stderr: None, over: true });
    }

    fn line(&self, mark: &marks::Mark) {
        let path = self.path("").with_file_name("epochs");
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "{}", serde_json::to_string(mark).unwrap()).unwrap();
    }

    /// All of an epoch from its begin on, and whether it has ended.
    fn epoch(&self, epoch: u64) -> (String, bool) {
        let (mut from, mut text) = (LogFrom::Epoch(Epoch(epoch)), String::new());
        loop {
            let ask = LogAsk { epoch: Some(Epoch(epoch)), ..ask(from) };
            let part = self.part(&ask, 3);
            assert_eq!((part.skipped, part.epoch), (false, Some(Epoch(epoch))));
            let (next, more, ended) = (part.next, part.more, part.ended);
            text += std::str::from_utf8(&part.into_output()).unwrap();
            from = LogFrom::Place(next);
            assert!(!(more && ended), "what has more to it has not ended");
            if !more {
                return (text, ended);
            }
        }
    }

    fn not_begun(&self, epoch: u64) -> bool {
        self.found(&ask(LogFrom::Epoch(Epoch(epoch))), 100) == Found::NotBegun
    }
}

#[test]
fn each_epoch_is_read_from_its_begin_to_its_end() {
    let log = Log::new();
    assert!(log.not_begun(5));
    log.begin(5);
    assert!(log.not_begun(9));
    assert_eq!(log.epoch(5), (String::new(), false));
    log.write("five\n");
    log.rotate();
    log.write("still five\n");
    assert_eq!(log.epoch(5), ("five\nstill five\n".to_owned(), false));
    log.over(5);
    assert_eq!(log.epoch(5), ("five\nstill five\n".to_owned(), true));
    log.begin(9);
    log.write("nine\n");
    log.rotate();
    log.compress(1);
    log.write("still nine\n");
    assert_eq!(log.epoch(5), ("five\nstill five\n".to_owned(), true));
    assert_eq!(log.epoch(9), ("nine\nstill nine\n".to_owned(), false));
    // One that never began here has ended as soon as another one has.
    let never = log.ask(LogFrom::Epoch(Epoch(7)));
    assert_eq!((never.is_empty(), never.ended), (true, true));
    assert_eq!(log.ask(LogFrom::Last(1)).epoch, Some(Epoch(9)));
    // Without an epoch all of it is read.
    let all = "five\nstill five\nnine\nstill nine\n";
    assert_eq!(log.follow(&mut LogPlace::default()), nothing(all));
}

#[test]
fn a_reader_at_the_end_of_an_epoch_is_told_so_and_misses_nothing() {
    let log = Log::new();
    log.begin(5);
    log.write("five\n");
    let ended = |place| {
        let ask = LogAsk { epoch: Some(Epoch(5)), ..ask(LogFrom::Place(place)) };
        let part = log.part(&ask, 100);
        (part.text, part.ended, part.skipped)
    };
    let place = log.ask(LogFrom::Last(0)).next;
    assert_eq!(ended(place), (String::new(), false, false));
    log.begin(9);
    assert_eq!(ended(place), (String::new(), true, false));
    log.write("nine\n");
    log.rotate();
    log.forget();
    assert_eq!(ended(place), (String::new(), true, false));
    // Also when its file is gone.
    fs::remove_file(log.path(".1")).unwrap();
    assert_eq!(ended(place), (String::new(), true, false));
}

#[test]
fn an_epoch_that_was_rotated_away_is_told() {
    let log = Log::new();
    log.begin(5);
    log.write("five\n");
    log.rotate();
    log.write("still five\n");
    fs::remove_file(log.path(".1")).unwrap();
    let part = log.ask(LogFrom::Epoch(Epoch(5)));
    assert_eq!((part.text.as_str(), part.skipped), ("still five\n", true));
    log.begin(9);
    log.write("nine\n");
    let part = log.ask(LogFrom::Epoch(Epoch(5)));
    assert_eq!((part.text.as_str(), part.skipped, part.ended), ("still five\n", true, true));
}

#[test]
fn an_instance_that_was_never_here_has_not_begun() {
    let log = Log::new();
    let unknown = LogAsk::new("web:1".parse().unwrap(), LogFrom::Epoch(Epoch(1)));
    assert_eq!(log.found(&unknown, 100), Found::NotBegun);
}
