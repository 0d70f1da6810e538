//! How output is shown.

use std::io::{BufRead, BufReader, Read};

use super::*;

/// Prints pieces of lines that others come between, and then stays.
const SLOW: &str = "for i in 1 2 3 4 5; do printf 'a%s' $i; sleep 0.05; printf 'b%s\\n' $i; done; \
     printf 'the end'; sleep 1000";

#[test]
fn several_are_shown_line_by_line_under_their_names() {
    let fleet = Fleet::start(1, 2);
    fleet.apply(&format!(
        "[program.talk]\ncommand = '''{SLOW}'''\nshell = true\nnumprocs = 11\nstartsecs = 0\n"
    ));
    let follower = Follower::start(&fleet, &["talk", "-n", "100"]);
    let wanted: Vec<String> = (0..11)
        .flat_map(|n| {
            let name = format!("{:8}", format!("talk:{n}"));
            (1..=5).map(move |i| format!("{name}| a{i}b{i}"))
        })
        .collect();
    wait_until("every line", DEADLINE, || {
        let shown = follower.shown();
        let mut lines: Vec<&str> = shown.lines().collect();
        // A stable sort: the lines of each stay in their order.
        lines.sort_by_key(|line| line.split([':', ' ']).nth(1)?.parse::<u32>().ok());
        if lines == wanted { Ok(()) } else { Err(shown) }
    });
    // A last line without an end is not followed, and may come a moment later.
    let once = wait_until("the last lines", DEADLINE, || {
        let once = fleet.ok(&["logs", "talk", "-n", "2"]);
        let ends = once.starts_with("talk:0  | a5b5\ntalk:0  | the end\ntalk:1  | a5b5\n");
        if ends { Ok(once) } else { Err(once) }
    });
    let output = fleet
        .command()
        .args(["logs", "talk", "-n", "2"])
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    let coloured = String::from_utf8(output.stdout).unwrap();
    assert!(coloured.contains("\u{1b}[") && !once.contains('\u{1b}'), "{coloured}");
}

#[test]
fn lines_are_counted_over_rotated_files_and_no_byte_is_altered() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.talk]
        command = '''seq 60000; printf 'a\377\000b\033[1mc\r\n\303'; sleep 1000'''
        shell = true
        startsecs = 0
        stdout_logfile_maxbytes = "50KB"
        stdout_logfile_backups = 20
        log_compress = true
        "#,
    );
    let last = b"a\xff\x00b\x1b[1mc\r\n\xc3";
    let lines = |count: &str| fleet.run(&["logs", "talk:0", "-n", count]).stdout;
    wait_until("all output", DEADLINE, || {
        let shown = lines("2");
        if shown == last { Ok(()) } else { Err(String::from_utf8_lossy(&shown).into_owned()) }
    });
    for count in [1_u32, 3, 5000, 50_000, 60_002] {
        let numbers: String = (1..=60_000)
            .skip(60_002 - count as usize)
            .fold(String::new(), |text, number| text + &number.to_string() + "\n");
        let mut wanted = [numbers.as_bytes(), last].concat();
        if count == 1 {
            wanted = last[last.len() - 1..].to_vec();
        }
        assert!(lines(&count.to_string()) == wanted, "{count} lines");
    }
}

#[test]
fn whoever_has_read_enough_ends_it_quietly() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.talk]\ncommand = '''echo once; exec sleep 1000'''\nshell = true\nstartsecs = 0\n",
    );
    let start = || {
        let mut command = fleet.command();
        command.args(["logs", "-f", "talk:0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // As `| head -n 1`, of a child that says no more.
    let mut follower = start();
    let mut reader = BufReader::new(follower.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "once\n");
    drop(reader);
    let said = |follower: &mut Child| {
        let mut said = String::new();
        follower.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    };
    let ended = wait_until("its end", DEADLINE, || follower.try_wait().unwrap().ok_or("running"));
    assert_eq!((ended.code(), said(&mut follower).as_str()), (Some(0), ""));
    // And by a person.
    let mut follower = start();
    let mut reader = BufReader::new(follower.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    kill(Pid::from_raw(follower.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let ended = wait_until("its end", DEADLINE, || follower.try_wait().unwrap().ok_or("running"));
    assert!(!ended.success());
    assert_eq!(said(&mut follower), "");
}

#[test]
fn a_follower_may_come_first() {
    let fleet = Fleet::start(1, 1);
    let declared = "[program.talk]\ncommand = '''echo here I am; exec sleep 1000'''\nshell = true\n\
                    startsecs = 0\nautostart = false\nmachines = \"w9\"\n";
    let file = fleet.file("p.toml", declared);
    fleet.ok(&["apply", "--no-wait", &file]);
    fleet.ok(&["start", "--no-wait", "talk"]);
    fleet.wait_state("talk:0", "PENDING");
    let follower = Follower::start(&fleet, &["talk:0"]);
    wait_until("that it waits", DEADLINE, || {
        let said = follower.said();
        if said.contains("is on no worker") { Ok(()) } else { Err(said) }
    });
    let file = fleet.file("p.toml", &declared.replace("machines = \"w9\"\n", ""));
    fleet.ok(&["apply", "--no-wait", &file]);
    follower.wait_for("here I am\n");
}
