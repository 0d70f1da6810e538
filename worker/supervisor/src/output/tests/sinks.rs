//! Where output goes, and in which shape.

use std::os::unix::net::UnixDatagram;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::*;

#[test]
fn two_outlets_on_one_file_rotate_it_together() {
    let mut stage = Stage::new(|plan| plan.rotation.bytes_max = 50);
    let (pipe, mut other) = io::pipe().unwrap();
    stage.say("only first\n");
    // Another name of the same file.
    let alias =
        stage.directory.path().join("../").join(stage.directory.path().file_name().unwrap());
    let mut second = plan(&[alias.join("out")]);
    second.rotation.bytes_max = 50;
    let mut outlet = stage.outputs.attach(pipe, second).unwrap();
    writeln!(other, "only second").unwrap();
    outlet.read(&mut stage.outputs, &mut stage.said);
    assert_eq!(stage.outlet.last_line().as_deref(), Some("only first"));
    let mut lines = Vec::new();
    for number in 0..30 {
        stage.say(format!("first {number}\n"));
        writeln!(other, "second {number}").unwrap();
        outlet.read(&mut stage.outputs, &mut stage.said);
        lines.extend([format!("first {number}"), format!("second {number}")]);
    }
    drop(other);
    outlet.drain(&mut stage.outputs, &mut stage.said);
    assert_eq!(outlet.last_line().as_deref(), Some("second 29"));
    assert_eq!(stage.outlet.last_line().as_deref(), Some("first 29"));
    let found = String::from_utf8(whole(&stage.path("out"))).unwrap();
    // Only nine rotated files are kept.
    let found: Vec<_> = found.lines().collect();
    assert!(
        found.len() > 20
            && lines.ends_with(&found.iter().map(|&l| l.to_owned()).collect::<Vec<_>>())
    );
}

#[test]
fn several_files_and_syslog_have_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    let settings = Settings { syslog: socket, ..Settings::default() };
    let other = directory.path().join("deep/er/two");
    let mut stage = Stage::with(&settings, |plan| {
        plan.files.push(other.clone());
        plan.syslog = Some("web_00".to_owned());
    });
    stage.say("a\nb");
    stage.say("c\nrest");
    stage.end();
    for path in [stage.path("out"), other] {
        assert_eq!(fs::read_to_string(path).unwrap(), "a\nbc\nrest");
    }
    let mut heard = [0; 100];
    for line in ["<30>web_00: a", "<30>web_00: bc", "<30>web_00: rest"] {
        let length = daemon.recv(&mut heard).unwrap();
        assert_eq!(std::str::from_utf8(&heard[..length]).unwrap(), line);
    }
}

#[test]
fn a_place_that_takes_nothing_is_told_and_others_have_it() {
    let settings = Settings { syslog: "/no/such/socket".into(), ..Settings::default() };
    let mut stage = Stage::with(&settings, |plan| {
        plan.files.push("/dev/full".into());
        plan.syslog = Some("x".to_owned());
    });
    stage.say("one\n");
    stage.say("two\n");
    let said = stage.end();
    assert_eq!(stage.file("out"), "one\ntwo\n");
    let whys: Vec<_> = said
        .iter()
        .filter_map(|said| if let Said::Lost(why) = said { Some(why.as_str()) } else { None })
        .collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(whys.len(), 4, "{whys:?}");
    assert!(whys[0].contains("/no/such/socket") && whys[1].contains("No space left"), "{whys:?}");
    assert_eq!(whys[2..], ["/dev/full: 8 bytes were lost", "syslog: 20 bytes were lost"]);
}

#[test]
fn a_file_that_is_full_does_not_stop_the_child() {
    let mut stage = Stage::new(|plan| plan.files = vec!["/dev/full".into()]);
    stage.say(vec![b'x'; 300_000]);
    stage.say("the end\n");
    assert!(matches!(stage.said.as_slice(), [Said::Lost(_)]), "{:?}", stage.said);
    assert_eq!(stage.outlet.last_line().map(|line| line.ends_with("the end")), Some(true));
    assert_eq!(stage.end()[1..], [Said::Lost("/dev/full: 300008 bytes were lost".into())]);
}

#[test]
fn a_file_that_can_be_written_again_says_what_was_lost() {
    let mut stage = Stage::new(|plan| plan.files[0].push("in/a/file"));
    fs::remove_dir_all(stage.path("out")).unwrap();
    fs::write(stage.path("out"), "in the way").unwrap();
    stage.outputs.reopen_all();
    stage.say("lost\n");
    fs::remove_file(stage.path("out")).unwrap();
    stage.outputs.reopen_all();
    stage.say("found\n");
    assert_eq!(stage.file("out/in/a/file"), "found\n");
    assert!(matches!(stage.end().as_slice(), [Said::Lost(_), Said::WrittenAgain(5)]));
}

#[test]
fn captured_output_is_told_and_not_logged() {
    let mut stage = Stage::new(|plan| {
        plan.capture_max = 5;
        plan.events = true;
    });
    stage.say("a<!--XSUPERVISOR:BE");
    stage.say("GIN-->0123456789<!--XSUPERVISOR:END-->z");
    stage.say("<!--XSUPERVISOR:BEGIN-->open");
    assert_eq!(stage.file("out"), "az");
    let said = stage.end();
    let captured = Said::Communication(b"56789".into());
    assert_eq!(said, [log("a"), captured, log("z"), log("open")]);
    assert_eq!(stage.file("out"), "azopen");
}

#[test]
fn events_hold_whole_characters() {
    let mut stage = Stage::new(|plan| plan.events = true);
    stage.say(b"a\xe2\x82");
    stage.say(b"\xac\xff\xe2");
    assert_eq!(
        stage.end(),
        [log("a"), Said::Log(b"\xe2\x82\xac\xff".into()), Said::Log(b"\xe2".into())]
    );
    assert_eq!(fs::read(stage.path("out")).unwrap(), b"a\xe2\x82\xac\xff\xe2");
}

#[test]
fn each_line_has_the_time_once_and_escapes_are_gone() {
    let mut stage = Stage::new(|plan| {
        plan.timestamps = true;
        plan.strip_ansi = true;
        plan.events = true;
    });
    stage.say("\x1b[3");
    stage.say("1mone\ntw");
    stage.say("o\n\nthree");
    let said = stage.end();
    assert_eq!(said, [log("one\ntw"), log("o\n\nthree")], "only files have times");
    let text = stage.file("out");
    let lines: Vec<_> = text.split('\n').collect();
    let texts = ["one", "two", "", "three"];
    assert_eq!(lines.len(), texts.len(), "{text}");
    for (line, text) in lines.iter().zip(texts) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(dsbus_schema::moment::Timestamp::parse(time).is_ok(), "{line}");
        assert_eq!((time.len(), rest), ("2026-01-31T12:00:00.000Z".len(), text));
    }
}

#[test]
fn rotated_files_are_compressed_and_nothing_is_lost() {
    let settings = Settings { compressor: vec!["gzip".into(), "-c".into()], ..Settings::default() };
    for way in WAYS {
        let mut stage = Stage::with(&settings, |plan| {
            plan.rotation.bytes_max = 40_000;
            plan.rotation.compress = true;
            way(plan);
        });
        let text = "one line of many\n".repeat(10_000);
        stage.say(&text);
        stage.end();
        while let Some(pid) = { stage.outputs.compressing().next() } {
            let status = waitpid(Pid::from_raw(pid), None).unwrap();
            let well = matches!(status, WaitStatus::Exited(_, 0));
            assert!(well && stage.outputs.compressor_ended(pid, well));
        }
        assert!(!stage.outputs.compressor_ended(1, true));
        let mut found = Vec::new();
        for number in (1..=9).rev() {
            assert!(!rotation::plain(&stage.path("out"), number).exists());
            let packed = rotation::packed(&stage.path("out"), number);
            if packed.exists() {
                let output = std::process::Command::new("gzip").arg("-dc").arg(packed).output();
                found.extend(output.unwrap().stdout);
            }
        }
        found.extend(fs::read(stage.path("out")).unwrap());
        assert!(found == text.as_bytes(), "{} of {}", found.len(), text.len());
        assert!(!stage.path("out.compressing").exists());
    }
}
