use dsbus_schema::call::LogPlace;

use super::*;

fn stay(epoch: u64, worker: &str) -> Stay {
    Stay { epoch: Epoch(epoch), worker: WorkerName::parse(worker).unwrap() }
}

fn place(offset: u64) -> LogPlace {
    LogPlace { file: 1, offset, ..LogPlace::default() }
}

fn part(text: &str, next: u64) -> LogPart {
    LogPart { epoch: Some(Epoch(5)), ..LogPart::new(text.into(), place(next)) }
}

fn refused(code: u16) -> Error {
    Error::Refused { code, text: "no".to_owned(), problems: Vec::new() }
}

/// An ask of the first worker, from a place on.
fn on_w1(offset: u64) -> (String, LogFrom, Option<u64>) {
    ("w1".to_owned(), LogFrom::Place(place(offset)), Some(5))
}

/// A course, and a clock that only a test moves.
struct Scene {
    course: Course,
    now: Instant,
}

impl Scene {
    /// On w1 under epoch 5.
    fn begin() -> Scene {
        let name = "web:0".parse().unwrap();
        let course = Course::from_last_lines(name, Channel::Stdout, Some(stay(5, "w1")), 20);
        Scene { course, now: Instant::now() }
    }

    /// The same, after its last lines were read.
    fn following() -> Scene {
        let mut scene = Scene::begin();
        assert_eq!(scene.asks(), Some(("w1".to_owned(), LogFrom::Last(20), None)));
        assert_eq!(scene.answer(part("a\n", 2)), ["a\n"]);
        assert_eq!(scene.asks(), Some(on_w1(2)));
        scene
    }

    /// Who is asked, from where on, of which epoch.
    fn asks(&mut self) -> Option<(String, LogFrom, Option<u64>)> {
        let (worker, ask) = self.course.ask(self.now).0?;
        Some((worker.to_string(), ask.from, ask.epoch.map(|epoch| epoch.0)))
    }

    fn answer(&mut self, part: LogPart) -> Vec<String> {
        shown(self.course.answered(part, self.now))
    }

    fn fail(&mut self, error: &Error) -> Vec<String> {
        shown(self.course.failed(error, self.now))
    }

    fn later(&mut self, length: Duration) {
        self.now += length;
    }
}

fn shown(shown: Vec<Show>) -> Vec<String> {
    let text = |show| match show {
        Show::Output(output) => String::from_utf8(output).unwrap(),
        Show::EndOfStay => "end".to_owned(),
        Show::Note(note) | Show::Moved(note) => format!("-- {note}"),
    };
    shown.into_iter().map(text).collect()
}

#[test]
fn a_stay_is_read_to_its_end_before_the_next_one_begins() {
    let mut scene = Scene::following();
    scene.course.hear(stay(9, "w2"));
    assert_eq!(scene.asks(), Some(on_w1(2)));
    assert_eq!(scene.answer(LogPart { more: true, ..part("b\n", 4) }), ["b\n"]);
    assert_eq!(scene.asks(), Some(on_w1(4)));
    assert_eq!(scene.answer(part("", 4)), Vec::<String>::new(), "its child may still live");
    assert_eq!(scene.asks(), Some(on_w1(4)));
    let last = LogPart { ended: true, ..part("c\n", 6) };
    assert_eq!(scene.answer(last), ["c\n", "end", "-- web:0 is on w2 now, epoch 9"]);
    let next = Some(("w2".to_owned(), LogFrom::Epoch(Epoch(9)), Some(9)));
    assert_eq!(scene.asks(), next);
    // What is heard of late was read, or was passed over.
    for old in [stay(5, "w1"), stay(7, "w3"), stay(9, "w2")] {
        scene.course.hear(old);
    }
    assert_eq!(scene.answer(LogPart { epoch: Some(Epoch(9)), ..part("d\n", 2) }), ["d\n"]);
    assert_eq!(scene.asks(), Some(("w2".to_owned(), LogFrom::Place(place(2)), Some(9))));
}

#[test]
fn stays_that_were_heard_of_out_of_order_are_read_in_order() {
    let mut scene = Scene::following();
    for later in [stay(9, "w1"), stay(7, "w2"), stay(9, "w1"), stay(8, "w3")] {
        scene.course.hear(later);
    }
    let mut workers = Vec::new();
    for _ in 0..3 {
        scene.answer(LogPart { ended: true, ..part("", 2) });
        let (worker, from, _) = scene.asks().unwrap();
        let LogFrom::Epoch(epoch) = from else { panic!("{from:?}") };
        workers.push((worker, epoch.0));
    }
    let wanted = [("w2", 7), ("w3", 8), ("w1", 9)];
    assert_eq!(workers, wanted.map(|(worker, epoch)| (worker.to_owned(), epoch)));
}

#[test]
fn a_worker_that_does_not_answer_is_left_when_the_instance_is_elsewhere() {
    for error in [Error::NoResponders, Error::Timeout] {
        let mut scene = Scene::following();
        assert_eq!(scene.fail(&error), Vec::<String>::new(), "its agent may be replaced");
        scene.later(PATIENCE);
        assert_eq!(scene.fail(&error), ["-- web:0: w1 does not answer"]);
        assert_eq!(scene.fail(&error), Vec::<String>::new(), "it is told once");
        assert_eq!(scene.answer(part("b\n", 4)), ["-- web:0: w1 answers again", "b\n"]);
        assert_eq!(scene.fail(&error), Vec::<String>::new());
        scene.course.hear(stay(9, "w2"));
        scene.later(PATIENCE / 2);
        assert_eq!(scene.fail(&error), Vec::<String>::new());
        scene.later(PATIENCE / 2);
        let told = [
            "-- web:0: w1 does not answer: its last output there may be missing",
            "end",
            "-- web:0 is on w2 now, epoch 9",
        ];
        assert_eq!(scene.fail(&error), told);
        assert_eq!(scene.asks().unwrap().0, "w2");
    }
}

#[test]
fn time_without_a_connection_is_not_held_against_a_worker() {
    let mut scene = Scene::following();
    scene.course.hear(stay(9, "w2"));
    assert_eq!(scene.fail(&Error::Timeout), Vec::<String>::new());
    scene.later(PATIENCE);
    assert_eq!(scene.fail(&Error::Disconnected), Vec::<String>::new());
    assert_eq!(scene.fail(&Error::Timeout), Vec::<String>::new());
    assert_eq!(scene.asks(), Some(on_w1(2)));
}

#[test]
fn a_stay_that_does_not_end_is_left_at_last() {
    let mut scene = Scene::following();
    scene.course.hear(stay(9, "w2"));
    for n in 1..4 {
        scene.asks();
        scene.later(LEAVING_MAX / 2);
        // As long as there is much to read, it is read.
        let more = LogPart { more: true, ..part("x\n", 2 + 2 * n) };
        assert_eq!(scene.answer(more), ["x\n"]);
    }
    scene.asks();
    scene.later(LEAVING_MAX / 2);
    assert_eq!(scene.answer(part("y\n", 20)), ["y\n"]);
    scene.asks();
    scene.later(LEAVING_MAX / 2);
    let told =
        ["z\n", "-- web:0: its output on w1 does not end", "end", "-- web:0 is on w2 now, epoch 9"];
    assert_eq!(scene.answer(part("z\n", 22)), told);
}

#[test]
fn a_stay_that_ended_before_the_next_is_known_is_waited_for() {
    let mut scene = Scene::following();
    assert_eq!(scene.answer(LogPart { ended: true, ..part("b\n", 4) }), ["b\n", "end"]);
    assert_eq!(scene.asks(), None);
    scene.course.hear(stay(9, "w2"));
    let (ask, told) = scene.course.ask(scene.now);
    assert_eq!(shown(told), ["-- web:0 is on w2 now, epoch 9"]);
    assert_eq!(ask.unwrap().0.as_str(), "w2");
}

#[test]
fn a_stay_that_never_began_is_passed_over() {
    let mut scene = Scene::following();
    scene.course.hear(stay(9, "w2"));
    scene.answer(LogPart { ended: true, ..part("", 2) });
    scene.asks();
    assert_eq!(scene.fail(&refused(code::NOT_FOUND)), Vec::<String>::new());
    scene.course.hear(stay(12, "w3"));
    scene.asks();
    scene.later(PATIENCE);
    let told = ["end", "-- web:0 is on w3 now, epoch 12"];
    assert_eq!(scene.fail(&refused(code::NOT_FOUND)), told);
}

#[test]
fn a_worker_that_knows_no_epochs_is_read_as_well_as_it_can_be() {
    let older = |text: &str, next| LogPart { epoch: None, ..part(text, next) };
    let mut scene = Scene::begin();
    scene.asks();
    assert_eq!(scene.answer(older("a\n", 2)), ["a\n"]);
    scene.course.hear(stay(9, "w2"));
    scene.asks();
    assert_eq!(scene.answer(older("b\n", 4)), ["b\n"]);
    scene.asks();
    assert_eq!(scene.answer(older("", 4)), ["end", "-- web:0 is on w2 now, epoch 9"]);
    scene.asks();
    assert_eq!(scene.fail(&refused(code::BAD_REQUEST)), Vec::<String>::new());
    assert_eq!(scene.asks(), Some(("w2".to_owned(), LogFrom::Last(20), None)));
}

#[test]
fn the_last_lines_may_be_of_a_later_stay_than_was_heard_of() {
    let mut scene = Scene::begin();
    scene.course.hear(stay(7, "w2"));
    scene.course.hear(stay(9, "w1"));
    scene.asks();
    scene.answer(LogPart { epoch: Some(Epoch(9)), ..part("a\n", 2) });
    assert_eq!(scene.asks(), Some(("w1".to_owned(), LogFrom::Place(place(2)), Some(9))));
}

#[test]
fn what_is_left_out_is_told() {
    let mut scene = Scene::begin();
    scene.asks();
    let skipped = |text: &str, next| LogPart { skipped: true, ..part(text, next) };
    let told = scene.answer(skipped("a\n", 2));
    assert_eq!(told, ["-- web:0: older lines cannot be read", "a\n"]);
    let told = scene.answer(skipped("b\n", 4));
    assert!(told[0].contains("rotated away") && told[1] == "b\n", "{told:?}");
    let told = scene.fail(&refused(code::NOT_FOUND));
    assert_eq!(
        (told, scene.fail(&refused(code::NOT_FOUND))),
        (vec!["-- web:0: no".into()], vec![])
    );
    let mut scene = Scene::following();
    let busy = refused(code::UNAVAILABLE);
    assert_eq!(scene.fail(&busy), Vec::<String>::new(), "it may pass");
    scene.later(PATIENCE);
    assert_eq!(scene.fail(&busy), ["-- web:0 (on w1): no"]);
    assert_eq!(scene.fail(&busy), Vec::<String>::new());
}
