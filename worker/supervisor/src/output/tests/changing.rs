//! Keys that change, files that are cleared or moved, all while a child writes.

use super::*;

#[test]
fn each_way_follows_another_without_a_gap() {
    let mut stage = Stage::new(|_| {});
    let mut lines = String::new();
    for round in 0..3 {
        for (number, way) in WAYS.iter().enumerate() {
            stage.change(way);
            let line = format!("round {round}, way {number}\n");
            stage.say(&line);
            lines += &line;
            assert_eq!(stage.outlet.last_line().as_deref(), Some(line.trim_end()));
        }
    }
    stage.end();
    assert_eq!(stage.file("out"), lines);
}

#[test]
fn what_was_held_back_is_given_out_under_the_old_plan() {
    let mut stage = Stage::new(|plan| {
        plan.capture_max = 100;
        plan.events = true;
    });
    stage.say("a<!--XSUPERVISOR:BEGIN-->captured");
    stage.change(|_| {});
    assert_eq!(stage.file("out"), "acaptured");
    assert_eq!(std::mem::take(&mut stage.said), [log("a"), log("captured")]);
    stage.change(|plan| plan.events = true);
    stage.say(b"\xe2");
    stage.change(|plan| plan.timestamps = true);
    assert_eq!(stage.said, [Said::Log(b"\xe2".into())]);
    // A line that was begun without the time goes on without it.
    stage.say("b\n");
    assert_eq!(fs::read(stage.path("out")).unwrap(), b"acaptured\xe2b\n");
}

#[test]
fn the_rest_of_what_is_captured_or_escaped_comes_under_the_new_plan() {
    let mut stage = Stage::new(|plan| {
        plan.capture_max = 100;
        plan.strip_ansi = true;
    });
    stage.say("<!--XSUPERVISOR:BEGIN-->1234\x1b[3");
    stage.change(|plan| {
        plan.capture_max = 3;
        plan.strip_ansi = true;
        plan.events = true;
    });
    stage.say("1m5<!--XSUPERVISOR:END-->");
    assert_eq!(stage.end(), [Said::Communication(b"345".into())]);
}

#[test]
fn files_and_their_rotation_change() {
    let mut stage = Stage::new(|_| {});
    stage.say("one\n");
    let two = stage.path("two");
    stage.change(|plan| plan.files.push(two.clone()));
    stage.say("both\n");
    stage.change(|plan| plan.files = vec![two.clone()]);
    stage.say("second\n");
    stage.change(|plan| {
        plan.files = vec![two];
        plan.rotation.bytes_max = 3;
    });
    stage.say("last\n");
    stage.change(|plan| plan.files.clear());
    stage.say("nowhere\n");
    assert_eq!(stage.outlet.last_line().as_deref(), Some("nowhere"));
    assert_eq!(stage.file("out"), "one\nboth\n");
    assert_eq!(stage.file("two.1"), "both\nsecond\nlast\n");
    assert_eq!(stage.file("two"), "");
    assert_eq!(stage.end(), []);
}

#[test]
fn clearing_keeps_the_child_attached_and_its_last_line_known() {
    for way in WAYS {
        let mut stage = Stage::new(|plan| {
            plan.rotation.bytes_max = 5;
            way(plan);
        });
        stage.say("before\n");
        stage.say("b2");
        stage.clear(way).unwrap();
        assert_eq!(stage.file("out"), "");
        assert!(!stage.path("out.1").exists());
        assert_eq!(stage.outlet.last_line().as_deref(), Some("b2"));
        stage.say("\nz\n");
        assert_eq!(stage.file("out"), "\nz\n");
        assert_eq!(stage.outlet.last_line().as_deref(), Some("z"));
    }
    let mut stage = Stage::new(|plan| plan.files.clear());
    assert_eq!(stage.clear(|plan| plan.files.clear()), Ok(()));
    assert_eq!(stage.clear(|plan| plan.files = vec!["/dev/null".into()]), Ok(()));
}

#[test]
fn all_files_are_opened_again() {
    for way in WAYS {
        let mut stage = Stage::new(way);
        stage.say("one\n");
        fs::rename(stage.path("out"), stage.path("moved")).unwrap();
        stage.say("two\n");
        stage.outputs.reopen_all();
        stage.say("three\n");
        assert_eq!(
            (stage.file("moved"), stage.file("out")),
            ("one\ntwo\n".into(), "three\n".into())
        );
    }
}

#[test]
fn settings_are_obeyed_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log");
    let daemon = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let mut stage = Stage::with(
        &Settings { syslog: "/no/such/socket".into(), ..Settings::default() },
        |plan| plan.syslog = Some("x".to_owned()),
    );
    stage.say("lost\n");
    stage.outputs.set_settings(&Settings { syslog: socket, ..Settings::default() });
    stage.say("heard\n");
    let mut heard = [0; 100];
    let length = daemon.recv(&mut heard).unwrap();
    assert_eq!(&heard[..length], b"<30>x: heard");
}
