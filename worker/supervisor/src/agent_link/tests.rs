use super::*;

const NOW: BootTime = BootTime(1_000_000_000);

/// A link to an agent that this test plays.
fn played() -> (AgentLink, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut link = AgentLink::new(AgentCommand::default(), None, None);
    link.agent = Some(Agent {
        // No process has it.
        pid: i32::MAX,
        socket: ours,
        words: None,
        started: NOW,
        heard: NOW,
        spoken: true,
        asked: None,
        unsent: VecDeque::new(),
        awaited: false,
        received: Received::default(),
    });
    (link, theirs)
}

fn agent(link: &AgentLink) -> &Agent {
    link.agent.as_ref().unwrap()
}

#[test]
fn what_one_turn_says_is_written_at_its_end_and_a_burst_is_given_back() {
    let (mut link, mut theirs) = played();
    theirs.set_nonblocking(true).unwrap();
    let mut read = Vec::new();
    link.send(&ToAgent::Ping { number: 1 });
    assert_eq!(theirs.read_to_end(&mut read).unwrap_err().kind(), ErrorKind::WouldBlock);
    link.flush();
    assert_eq!(link.awaits_reading(), None);
    let long = vec![b'x'; 1 << 20];
    link.send_line(&long);
    link.flush();
    assert_eq!((link.awaits_reading(), link.awaits_reading()), (Some(true), None));
    while !agent(&link).unsent.is_empty() {
        assert_eq!(theirs.read_to_end(&mut read).unwrap_err().kind(), ErrorKind::WouldBlock);
        link.flush();
    }
    assert_eq!(link.awaits_reading(), Some(false));
    assert!(agent(&link).unsent.capacity() <= 2 * ROOM_KEPT);
    let _ = theirs.read_to_end(&mut read);
    assert_eq!(read.len(), ToAgent::Ping { number: 1 }.line().len() + long.len());
}

#[test]
fn lines_are_heard_whole_however_they_come() {
    let mut received = Received::default();
    let mut heard = Vec::new();
    for (piece, scanned) in [("on", 2), ("e\ntw", 2), ("", 2), ("o", 3), ("\n\nthree\n", 0)] {
        received.bytes.extend_from_slice(piece.as_bytes());
        received.lines(|line| heard.push(String::from_utf8(line.to_vec()).unwrap()));
        assert_eq!(received.scanned, scanned, "{piece}");
    }
    assert_eq!(heard, ["one", "two", "", "three"]);
    received.bytes.extend_from_slice(&vec![b'x'; 1 << 20]);
    received.lines(|_| panic!("no end of a line"));
    received.bytes.push(b'\n');
    received.lines(|line| assert_eq!(line.len(), 1 << 20));
    assert!(received.bytes.capacity() <= 2 * ROOM_KEPT);
}

#[test]
fn one_that_pings_is_not_asked_and_one_that_is_silent_is_and_then_replaced() {
    let (mut link, mut theirs) = played();
    let ping = b"{\"say\":\"ping\",\"number\":1}\n";
    let mut now = NOW;
    for _ in 0..5 {
        now = now + AGENT_PINGS;
        assert!(link.deadline() > now, "nothing wakes this side up before");
        assert_eq!(link.tend(now), Change::None);
        theirs.write_all(ping).unwrap();
        assert_eq!(link.receive(now).unwrap(), [ToSupervisor::Ping { number: 1 }]);
        assert_eq!(agent(&link).asked, None);
    }
    let asked = now + QUIET;
    assert_eq!(link.deadline(), asked);
    assert_eq!(link.tend(asked), Change::None);
    assert_eq!(link.deadline(), asked + ANSWER_MAX);
    theirs.write_all(ping).unwrap();
    link.receive(asked).unwrap();
    assert_eq!(agent(&link).asked, None, "whatever it says shows that it lives");
    link.tend(asked + QUIET);
    link.tend(asked + QUIET + ANSWER_MAX);
    assert!(link.agent.is_none());
}

#[test]
fn its_last_words_are_read_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = LogFile::open(path.clone(), crate::output::Rotation::default());
    let (mut link, _theirs) = played();
    link.log = Some(Arc::new(Mutex::new(log)));
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let text = "it said much\n".repeat(3 * WORDS_AT_ONCE / 13);
    writer.write_all(text.as_bytes()).unwrap();
    link.agent.as_mut().unwrap().words = Some(reader);
    link.lost(NOW);
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}
