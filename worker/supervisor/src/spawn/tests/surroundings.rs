//! Environment, directory, session and signals of a child.

use super::*;

#[test]
fn later_variables_win_and_values_stay_as_they_are() {
    let mut place = Place::new();
    let file = place.home.path().join("web.env");
    std::fs::write(&file, "FILE=f\nexport OVER='file $x'\nSETTING=file\nDSBUS_EPOCH=1\n").unwrap();
    let strange = "a=b, c;d \"q\" 'p' %h 100% \\ \n$x #y é";
    for (name, value) in [("SETTING", "s"), ("GIVEN", "g"), ("MINE", "%(ENV_PATH)s")] {
        place.settings.environment.insert(name.into(), value.into());
    }
    place.settings.serverurl = Some("http://h/".into());
    let mut spec = script("env -0");
    spec.process_name = Some("%(program_name)s_%(process_num)02d".into());
    spec.group = Some("shop".parse().unwrap());
    spec.env_file = vec!["%(ENV_HERE)s/web.env".into()];
    let here = place.home.path().display().to_string();
    for (name, value) in [
        ("OVER", "program"),
        ("STRANGE", strange),
        ("NUMBER", "%(process_num)03d of %(program_name)s on %(worker)s"),
        ("PATH", "/extra:%(ENV_PATH)s"),
        ("DSBUS_INSTANCE", "forged"),
        ("HERE", &here),
    ] {
        spec.environment.insert(name.into(), value.into());
    }
    let said = place.said(&spec);
    let path = std::env::vars().find(|(name, _)| name == "PATH").unwrap().1;
    let longer = format!("/extra:{path}");
    for (name, value) in [
        ("SUPERVISOR_ENABLED", "1"),
        ("SUPERVISOR_SERVER_URL", "http://h/"),
        ("SUPERVISOR_PROCESS_NAME", "web_03"),
        ("SUPERVISOR_GROUP_NAME", "shop"),
        ("FILE", "f"),
        ("SETTING", "file"),
        ("GIVEN", "g"),
        ("MINE", &path),
        ("OVER", "program"),
        ("STRANGE", strange),
        ("NUMBER", "003 of web on w1"),
        ("PATH", &longer),
        ("DSBUS_INSTANCE", "web:3"),
        ("DSBUS_PROGRAM", "web"),
        ("DSBUS_INDEX", "3"),
        ("DSBUS_EPOCH", "7"),
        ("DSBUS_FLEET", "f1"),
        ("DSBUS_WORKER", "w1"),
    ] {
        let line = format!("{name}={value}");
        assert!(said.split('\0').any(|one| one == line), "{line} is not in {said:?}");
    }
    for absent in ["NOTIFY_SOCKET=", "INVOCATION_ID=", "LISTEN_", "WATCHDOG_"] {
        assert!(!said.split('\0').any(|one| one.starts_with(absent)), "{absent}");
    }
}

#[test]
fn it_begins_in_its_directory_in_a_session_of_its_own_with_no_signal_held_back() {
    let place = Place::new();
    let text = "pwd -P; cut -d' ' -f6 /proc/self/stat; echo $$; \
                exec grep -E '^Sig(Blk|Ign)|^ShdPnd' /proc/self/status";
    let said = place.said(&script(text));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(Path::new(lines[0]), place.home.path().canonicalize().unwrap());
    assert_eq!(lines[1], lines[2]);
    assert_eq!(said.matches("0000000000000000").count(), 3, "{said}");
    let mut spec = script("pwd -P");
    spec.directory = Some("%(ENV_D)s/x".into());
    std::fs::create_dir(place.home.path().join("x")).unwrap();
    spec.environment.insert("D".into(), place.home.path().display().to_string().into());
    assert!(place.said(&spec).ends_with("/x\n"));
}

#[test]
fn a_command_is_found_by_the_path_of_the_child_and_expanded() {
    let place = Place::new();
    let tool = place.home.path().join("tool-web");
    // Written by another process: a child that another test starts meanwhile would inherit the open
    // file of this one, and keep it from being executed (ETXTBSY).
    let write = "printf '#!/bin/sh\\necho \"$0\" \"$@\"\\n' > \"$1\"; chmod 755 \"$1\"";
    let written = std::process::Command::new("sh").args(["-c", write, "sh"]).arg(&tool).status();
    assert!(written.unwrap().success());
    let words = ["tool-%(program_name)s", "%(process_num)d", "a  b"];
    let mut spec = ProgramSpec {
        command: Command::Words(words.map(str::to_owned).to_vec()),
        ..ProgramSpec::default()
    };
    spec.environment
        .insert("PATH".into(), format!("/nowhere:{}", place.home.path().display()).into());
    assert_eq!(place.said(&spec), format!("{} 3 a  b\n", tool.display()));
    let started = place.start(&spec).unwrap();
    assert_eq!((started.executable, started.setid), (tool.clone(), false));
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    assert!(place.start(&spec).unwrap().setid);
    spec.command = Command::Words(vec!["./tool-web".to_owned()]);
    assert_eq!(place.start(&spec).unwrap().executable, place.home.path().join("./tool-web"));
}

/// Docker's filter of system calls answers ENOSYS to clone3.
#[test]
fn where_clone3_is_refused_it_moves_into_its_cgroup_by_itself() {
    let Some(root) = crate::cgroup::tests::Root::open("refused") else { return };
    let place = Place::new();
    let spec = script("exec grep ^0:: /proc/self/cgroup");
    let who = place.who();
    let known = variables(&spec, &who).unwrap();
    let draft = Draft::new(&spec, &who, &known, &spec.argv().unwrap()).unwrap();
    let (reader, writer) = pipe().unwrap();
    let reserve = &place.machine.reserve;
    let sources = [reserve.null().unwrap(), writer.as_fd(), writer.as_fd()];
    let plan = draft.plan(Path::new("/bin/sh"), &[]).unwrap();
    let cgroup = Cgroup::make(&root.0, &place.name, place.incarnation, 1, &spec.limits).unwrap();
    let given = launch::Given { plan: &plan, sources: &sources, cgroup: Some(cgroup.directory()) };
    let pid = launch::launch_by(given, reserve, |_, _, _| None).unwrap();
    drop(writer);
    let said = read(reader);
    let name = cgroup.path().file_name().unwrap().to_str().unwrap();
    assert!(said.ends_with(&format!("/{name}\n")), "{said}");
    assert_eq!(end_of(pid), Exit::code(0));
    // One that is gone refuses both ways.
    cgroup.remove().unwrap();
    let why = place.start_in(&script("true"), &who, Some(&cgroup)).unwrap_err();
    assert!(why.starts_with("it cannot enter its cgroup: "), "{why}");
}

/// The longest row of one byte in the memory that this process can write, but for what reads it.
fn longest_row(byte: u8) -> usize {
    use std::os::unix::fs::FileExt;
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut longest = 0;
    let mut buffer = vec![0; 1 << 16];
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut row = 0;
        while at < to {
            let len = buffer.len().min(usize::try_from(to - at).unwrap());
            let Ok(read) = memory.read_at(&mut buffer[..len], at) else { break };
            for found in &buffer[..read] {
                row = if *found == byte { row + 1 } else { 0 };
                longest = longest.max(row);
            }
            at += read as u64;
        }
        // What was read is not to be found again on this stack.
        buffer.fill(0);
    }
    longest
}

#[test]
fn no_copy_of_a_value_is_left_in_memory_once_its_child_runs() {
    if !alone(
        "spawn::tests::surroundings::no_copy_of_a_value_is_left_in_memory_once_its_child_runs",
    ) {
        return;
    }
    let place = Place::new();
    let path = place.home.path().join("value");
    // Made by another process, so that nothing of it is here.
    let made = format!("printf 'Q%.0s' $(seq 200) > {}", path.display());
    place.said(&script(&made));
    let mut spec = script("test ${#SECRET} = 200");
    let value = dsbus_schema::program::EnvironmentValue::File { file: path.display().to_string() };
    spec.environment.insert("SECRET".into(), value);
    place.said(&spec);
    assert!(longest_row(b'Q') < 50, "{}", longest_row(b'Q'));
    let kept = [b'Q'; 100];
    assert!(longest_row(b'Q') >= kept.len(), "it would have been found");
}
