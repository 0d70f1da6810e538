//! What command lines mean.

use super::*;

fn create(words: &str) -> Result<(Map<String, Value>, Vec<String>), String> {
    match parse(words.split(' ')).map_err(|e| e.to_string())?.verb {
        Verb::Create(create) => Ok((create.keys, create.command)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}

/// Verbs that succeed only where they are on a terminal: there `tests/e2e/screens.rs` tests them.
const ON_A_TERMINAL: [&str; 1] = ["top"];

/// All verbs that people give, with those below them: `rollout pause`.
fn verbs(of: &clap::Command, before: &str) -> Vec<String> {
    let shown = of.get_subcommands().filter(|verb| !verb.is_hide_set());
    let shown = shown.filter(|verb| before.is_empty() || verb.get_name() != "help");
    let named = shown.flat_map(|verb| {
        let name = format!("{before}{}", verb.get_name());
        // Of help there is one.
        let below = if name == "help" { Vec::new() } else { verbs(verb, &format!("{name} ")) };
        std::iter::once(name.clone()).chain(below).collect::<Vec<_>>()
    });
    named.collect()
}

#[test]
fn a_transcript_shows_each_verb_succeed_and_fail() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/snapshots");
    let files = std::fs::read_dir(directory).unwrap();
    let text = |file: std::fs::DirEntry| std::fs::read_to_string(file.path()).unwrap();
    let shown: Vec<String> = files.map(|file| text(file.unwrap())).collect();
    let runs: Vec<(&str, bool)> = shown
        .iter()
        .flat_map(|text| text.split("\n$ ").skip(1))
        .filter_map(|run| {
            let (line, said) = run.split_once('\n')?;
            let (_, words) = line.split_once("dsbus ")?;
            Some((words, !said.contains("\n[exit ") && !said.starts_with("[exit ")))
        })
        .collect();
    let mut command = command();
    command.build();
    let mut missing = Vec::new();
    for verb in verbs(&command, "") {
        let of_verb = |words: &str| words == verb || words.starts_with(&format!("{verb} "));
        let mut outcomes = runs.iter().filter(|(words, _)| of_verb(words)).map(|(_, done)| *done);
        if !ON_A_TERMINAL.contains(&verb.as_str()) && !outcomes.clone().any(|done| done) {
            missing.push(format!("{verb}: a success"));
        }
        if !outcomes.any(|done| !done) {
            missing.push(format!("{verb}: a failure"));
        }
    }
    assert!(missing.is_empty(), "in no transcript (tests/e2e/said): {missing:#?}");
}

#[test]
fn keys_of_create_are_options() {
    let (keys, command) = create(
        "dsbus create web --numprocs=3 --exclusive --touch-timeout 20s \
         --environment A=1 --environment B=2 -- sleep --numprocs 5",
    )
    .unwrap();
    let text = |key: &str| keys[key].as_str().unwrap();
    assert_eq!((text("numprocs"), text("exclusive")), ("3", "true"));
    assert_eq!((text("touch_timeout"), text("environment")), ("20s", "A=1,B=2"));
    assert_eq!(keys.len(), 4, "nothing that was not given: {keys:?}");
    assert_eq!(command, ["sleep", "--numprocs", "5"]);
    assert_eq!(create("dsbus create web --autostart false -- x").unwrap().0["autostart"], "false");
}

#[test]
fn settings_are_defaults_of_options() {
    let read = |words: &str| {
        let (output, timeout) = (Some("yaml".to_owned()), Some("5m".to_owned()));
        parse_with(words.split(' '), output, timeout).map(|args| args.verb)
    };
    let Ok(Verb::Stop(stop)) = read("dsbus stop web") else { panic!("stop") };
    assert_eq!((stop.output, stop.wait.timeout), (Format::Data(Data::Yaml), Span::from_secs(300)));
    let Ok(Verb::Stop(stop)) = read("dsbus stop web -o wide --timeout 1s") else {
        panic!("options win")
    };
    assert_eq!(stop.output, Format::Text(Width::Whole));
    assert_eq!(stop.wait.timeout, Span::from_secs(1));
    read("dsbus events web").expect("it has no yaml, and keeps its own");
    let Ok(Verb::Drain(_)) = read("dsbus drain w1") else { panic!("another time limit") };
}

#[test]
fn a_slip_of_run_is_known_as_one() {
    for (words, run) in [
        ("dsbus --as ann run --numproc 3 -- true", true),
        ("dsbus run", true),
        ("dsbus --as run status --nonsense", false),
        ("dsbus nonsense --run", false),
    ] {
        assert!(parse(words.split(' ')).is_err() || !run, "{words}");
        assert_eq!(is_run(words.split(' ')), run, "{words}");
    }
}

#[test]
fn slips_of_create_are_answered() {
    let said = create("dsbus create web --numproc 3 -- x").unwrap_err();
    assert!(said.contains("numprocs"), "{said}");
    assert!(create("dsbus create web --numprocs 3").unwrap_err().contains("CMD"));
    assert!(create("dsbus create a.b -- x").unwrap_err().contains("may hold only"));
}

#[test]
fn the_user_of_a_program_is_not_who_asks() {
    let (keys, _) = create("dsbus create web --user nobody --as alice -- x").unwrap();
    assert_eq!(keys["user"], "nobody");
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[test]
fn dev_has_files_and_a_verb() {
    let dev = |words: &str| match parse(words.split(' ')).unwrap().verb {
        Verb::Dev(dev) => dev,
        other => panic!("{other:?}"),
    };
    assert_eq!(dev("dsbus dev --workers 2 a.toml b.toml").files.len(), 2);
    assert!(matches!(dev("dsbus dev kill w1").verb, Some(DevVerb::Kill { .. })));
}
