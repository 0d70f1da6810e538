//! What is seen, on screens that exist only here.

use dsbus_client::Used;
use dsbus_schema::call::Channel;
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::status::{InstanceRow, WorkerRow};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::view;
use crate::commands::top::model::{Column, Mode, Model, Told};
use crate::commands::top::update::{Effect, Message, update};
use crate::table::Tone;

const NOW: i128 = 1_800_000_000_000_000_000;

fn at(seconds_ago: i128) -> Value {
    json!(Timestamp::from_unix_nanos(NOW - seconds_ago * 1_000_000_000))
}

fn row(name: &str, state: &str, more: &Value) -> InstanceRow {
    let (program, index) = name.split_once(':').unwrap();
    let mut row = json!({
        "name": name, "id": "00000000-0000-0000-0000-000000000001", "program": program,
        "index": index.parse::<u32>().unwrap(), "state": state, "statecode": 0,
        "worker": "w1", "pid": null, "epoch": 1, "revision": 1, "since": at(62), "restarts": 0,
        "exit": null, "reason": null, "spawnerr": null, "stderr_line": null,
        "stdout_logfile": null, "stderr_logfile": null, "ok": true,
        "wanted": { "run": true, "starts": 0, "restarts": 0, "reloads": 0 },
        "acted": { "run": true, "starts": 0, "restarts": 0, "reloads": 0 },
    });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(row).unwrap()
}

fn worker(name: &str, state: &str) -> WorkerRow {
    serde_json::from_value(json!({
        "name": name, "state": state, "host": "h", "agent_pid": 1, "supervisor_pid": 2,
        "instances": 3, "last_touch": null, "version": "0.1.0",
        "facts": { "at": at(1), "cpu_percent": 12.4, "load": [0.42, 0.1, 0.1], "cores": 2,
                   "memory_total": 16_000_000_000_u64, "memory_available": 12_000_000_000_u64 },
    }))
    .unwrap()
}

fn rows() -> Vec<InstanceRow> {
    vec![
        row("web:0", "RUNNING", &json!({ "pid": 101 })),
        row(
            "web:1",
            "RUNNING",
            &json!({ "pid": 102, "worker": "w2", "restarts": 3, "since": at(4_000) }),
        ),
        row("bad:0", "FATAL", &json!({ "ok": false, "spawnerr": "/no/such does not exist" })),
        row("cron:0", "EXITED", &json!({ "exit": { "code": 0, "signal": null } })),
        row(
            "wait:0",
            "PENDING",
            &json!({ "worker": null, "ok": false, "reason": "no worker has disk=ssd" }),
        ),
    ]
}

fn model(columns: u16, lines: u16) -> Model {
    let title = "default  nats://127.0.0.1:4222".to_owned();
    let mut model = Model::new(title, (columns, lines), Timestamp::from_unix_nanos(NOW));
    update(&mut model, Message::Rows(rows()));
    update(&mut model, Message::Workers(vec![worker("w1", "ready"), worker("w2", "lost")]));
    let name = InstanceId::new(ProgramName::parse("web").unwrap(), 0);
    let used = Used { cpu: Some(0.126), cpu_ms: 0, memory: 18_874_368 };
    update(&mut model, Message::Used(vec![(name, used)]));
    model.tell(Told {
        time: "03:04:05".to_owned(),
        about: "bad:0".to_owned(),
        kind: "FATAL".to_owned(),
        detail: "/no/such does not exist".to_owned(),
        tone: Tone::Bad,
    });
    model
}

fn press(model: &mut Model, keys: &[KeyCode]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys {
        effects = update(model, Message::Key(KeyEvent::new(*key, KeyModifiers::NONE)));
    }
    effects
}

fn drawn(model: &Model) -> Buffer {
    let (columns, lines) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// What is seen, line by line.
fn seen(model: &Model) -> Vec<String> {
    let buffer = drawn(model);
    let line = |y| {
        let cells = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol().to_owned());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..buffer.area.height).map(line).collect()
}

fn names(model: &Model) -> Vec<String> {
    model.order.iter().map(|&at| model.rows[at].name.to_string()).collect()
}

#[test]
fn eighty_by_twenty_four() {
    let expected = "
 dsbus top  default  nats://127.0.0.1:4222                            08:00:00Z
 5 instances  ● 2 running  ✗ 1 fatal  ◌ 1 pending  ✓ 1 exited
 WORKER  STATE     INSTANCES   CPU            MEMORY    LOAD
 w2      lost              3     -                 -       -
 w1      ready             3   12%      3.7/14.9 GiB    0.42
 NAME▾   STATE       WORKER     CPU      MEMORY    RST  SINCE     DETAIL
 bad:0   ✗ FATAL     w1           -           -      0  1m 2s     /no/such does…
 cron:0  ✓ EXITED    w1           -           -      0  1m 2s     exit code 0
 wait:0  ◌ PENDING   -            -           -      0  1m 2s     no worker has…
 web:0   ● RUNNING   w1         13%    18.0 MiB      0  1m 2s
 web:1   ● RUNNING   w2           -           -      3  1h 6m






 bad:0: FATAL: /no/such does not exist
── events ──────────────────────────────────────────────────────────────────────
 03:04:05  bad:0  FATAL  /no/such does not exist



 s start x stop r restart l log ↵ info / filter f state <> sort ? keys q quit";
    assert_eq!(seen(&model(80, 24)).join("\n"), expected.trim_start_matches('\n'));
}

#[test]
fn a_wide_terminal_has_room_for_everything() {
    let lines = seen(&model(160, 50));
    assert_eq!(lines.len(), 50);
    assert!(lines[49].ends_with("e events"), "{:?}", lines[49]);
    assert!(lines.iter().any(|line| line.ends_with("no worker has disk=ssd")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("FATAL")).count(), 3, "{lines:#?}");
}

/// A dozen copies of a program with a long name.
fn dozen(columns: u16, lines: u16) -> Model {
    let mut model = model(columns, lines);
    let copies = (0..12).map(|n| row(&format!("frontend-web:{n}"), "RUNNING", &json!({})));
    update(&mut model, Message::Rows(copies.collect()));
    model
}

#[test]
fn names_outlive_columns_and_rows_outlive_events() {
    let lines = seen(&dozen(60, 15));
    assert_eq!(lines[4], " NAME▾            STATE       WORKER     CPU      MEMORY", "{lines:#?}");
    assert!(lines[5].starts_with(" frontend-web:0   ● RUNNING   w1 "), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("events")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("● RUNNING")).count(), 8, "{lines:#?}");

    let lines = seen(&dozen(40, 12));
    assert_eq!(lines[2], " NAME▾            STATE       WORKER", "{lines:#?}");
    assert_eq!(lines[3].trim_end(), " frontend-web:0   ● RUNNING   w1", "{lines:#?}");
    assert!(seen(&dozen(30, 12))[3].starts_with(" frontend-web:0  "));
    assert!(seen(&dozen(80, 18)).iter().any(|line| line.contains("── events")));
}

#[test]
fn the_keys_are_told_whole_on_a_small_terminal() {
    let mut model = model(60, 15);
    press(&mut model, &[KeyCode::Char('?')]);
    let first = seen(&model);
    assert!(first[2].starts_with("── keys ") && first[3].contains("↑ ↓"), "{first:#?}");
    press(&mut model, &[KeyCode::PageDown]);
    let last = seen(&model);
    assert!(last[13].contains("q  Ctrl-C      leave"), "{last:#?}");
    let all = [&first[3..14], &last[3..14]].concat().join("\n");
    for (key, words) in [("/", "worker or"), ("f", "rests"), ("e", "show or hide"), ("R", "round")]
    {
        assert!(all.contains(&format!("\n  {key} ")) && all.contains(words), "{key}: {all}");
    }
    press(&mut model, &[KeyCode::Down, KeyCode::Up, KeyCode::PageUp, KeyCode::Up]);
    assert_eq!(seen(&model), first, "it ends at both ends");
    press(&mut model, &[KeyCode::Char('x')]);
    assert_eq!(model.mode, Mode::Table);
}

#[test]
fn a_terminal_of_any_size_shows_what_it_can() {
    for (columns, lines) in [(1, 1), (10, 2), (20, 5), (40, 10), (79, 13), (300, 3)] {
        let model = model(columns, lines);
        assert_eq!(seen(&model).len(), usize::from(lines));
    }
    assert!(seen(&model(40, 8)).iter().any(|line| line.contains("bad:0")));
}

#[test]
fn colours_are_never_alone_and_can_be_left_out() {
    let mut model = model(80, 24);
    let colours = |model: &Model| {
        drawn(model).content().iter().filter(|cell| cell.fg != Color::Reset).count()
    };
    assert!(colours(&model) > 20);
    model.colour = false;
    assert_eq!(colours(&model), 0);
}

#[test]
fn rows_are_sorted_by_every_column() {
    let mut model = model(80, 24);
    for (column, first, last) in [
        (Column::Name, "bad:0", "web:1"),
        (Column::State, "bad:0", "cron:0"),
        (Column::Worker, "bad:0", "wait:0"),
        (Column::Cpu, "web:0", "web:1"),
        (Column::Memory, "web:0", "web:1"),
        (Column::Restarts, "web:1", "web:0"),
        (Column::Since, "bad:0", "web:1"),
    ] {
        assert_eq!(model.sort, column);
        let names = names(&model);
        assert_eq!((&*names[0], &*names[4]), (first, last), "{column:?}: {names:?}");
        press(&mut model, &[KeyCode::Char('R')]);
        assert_eq!(self::names(&model)[4], first, "{column:?} reversed");
        assert_eq!(press(&mut model, &[KeyCode::Char('>')]), [Effect::AskUsage]);
    }
    assert_eq!(model.sort, Column::Name);
    press(&mut model, &[KeyCode::Left]);
    assert_eq!(model.sort, Column::Since);
}

#[test]
fn a_filter_keeps_what_holds_the_text_or_is_in_the_state() {
    let mut model = model(80, 24);
    press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('W'), KeyCode::Char('e')]);
    assert_eq!(names(&model), ["web:0", "web:1"]);
    assert!(seen(&model)[17].starts_with(" /We"), "{:?}", seen(&model)[17]);
    press(&mut model, &[KeyCode::Enter]);
    assert!(seen(&model)[1].ends_with("2 shown: /We"), "{:?}", seen(&model)[1]);
    // Keys mean what they mean in the table again.
    assert_eq!(press(&mut model, &[KeyCode::Char('q')]), [Effect::Quit]);
    press(&mut model, &[KeyCode::Esc]);
    assert_eq!(names(&model).len(), 5);
    for (text, found) in [("w2", vec!["web:1"]), ("fatal", vec!["bad:0"]), ("nothing", vec![])] {
        press(&mut model, &[KeyCode::Char('/')]);
        press(&mut model, &text.chars().map(KeyCode::Char).collect::<Vec<_>>());
        assert_eq!(names(&model), found);
        press(&mut model, &[KeyCode::Esc]);
    }
    for found in
        [vec!["bad:0", "wait:0"], vec!["web:0", "web:1"], vec!["bad:0", "cron:0", "wait:0"]]
    {
        press(&mut model, &[KeyCode::Char('f')]);
        assert_eq!(names(&model), found);
    }
    press(&mut model, &[KeyCode::Char('f')]);
    assert_eq!(names(&model).len(), 5);
}

#[test]
fn what_changes_an_instance_is_asked_about_first() {
    let mut model = model(80, 24);
    press(&mut model, &[KeyCode::End]);
    for (key, verb) in [('s', "start"), ('x', "stop"), ('r', "restart")] {
        assert_eq!(press(&mut model, &[KeyCode::Char(key)]), []);
        assert_eq!(seen(&model)[17], format!(" Really {verb} web:1? y/N"));
        assert_eq!(press(&mut model, &[KeyCode::Enter]), [], "no is the default");
        assert_eq!(model.mode, Mode::Table);
        press(&mut model, &[KeyCode::Char(key)]);
        let effects = press(&mut model, &[KeyCode::Char('y')]);
        let [Effect::Act(asked, name)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((asked.name(), &*name.to_string()), (verb, "web:1"));
    }
}

#[test]
fn the_chosen_row_stays_chosen_when_others_come_and_go() {
    let mut model = model(80, 24);
    press(&mut model, &[KeyCode::Down, KeyCode::Down, KeyCode::Char('j')]);
    let chosen = |model: &Model| model.chosen_row().map(|row| row.name.to_string());
    assert_eq!(chosen(&model).as_deref(), Some("web:0"));
    update(&mut model, Message::Changed(vec![row("aaa:0", "RUNNING", &json!({}))]));
    assert_eq!(chosen(&model).as_deref(), Some("web:0"));
    // It goes: the one in its place is chosen.
    let rows = rows().into_iter().filter(|row| row.name.to_string() != "web:0").collect();
    update(&mut model, Message::Rows(rows));
    assert!(chosen(&model).is_some());
    update(&mut model, Message::Rows(Vec::new()));
    assert_eq!(chosen(&model), None);
    assert!(seen(&model).iter().any(|line| line.contains("No programs yet")));
    assert_eq!(press(&mut model, &[KeyCode::Char('x'), KeyCode::Enter, KeyCode::Char('l')]), []);
}

#[test]
fn panes_show_all_about_an_instance_its_log_and_the_keys() {
    let mut model = model(80, 24);
    press(&mut model, &[KeyCode::Enter]);
    let shown = seen(&model).join("\n");
    for text in
        ["all about bad:0", "why            /no/such does not exist", "03:04:05", "Esc back"]
    {
        assert!(shown.contains(text), "{text}:\n{shown}");
    }
    press(&mut model, &[KeyCode::Esc, KeyCode::End]);
    let effects = press(&mut model, &[KeyCode::Char('l')]);
    assert!(matches!(&effects[..], [Effect::Follow(..)]), "{effects:?}");
    let output: String = (0..100).map(|n| ["line ", &n.to_string(), "\n"].concat()).collect();
    let of = |name: &str, channel| (name.parse::<InstanceId>().unwrap(), channel);
    update(&mut model, Message::Printed(of("web:1", Channel::Stdout), output.into_bytes()));
    // Of the one that was looked at before, and of its other output, some may be on its way.
    for late in [of("web:0", Channel::Stdout), of("web:1", Channel::Stderr)] {
        update(&mut model, Message::Printed(late.clone(), b"late\n".to_vec()));
        update(&mut model, Message::LogNote(late, "late".to_owned()));
    }
    let shown = seen(&model);
    assert!(shown[2].starts_with("── stdout of web:1 "), "{:?}", shown[2]);
    assert_eq!((&*shown[3], &*shown[22]), (" line 80", " line 99"));
    press(&mut model, &[KeyCode::PageUp]);
    assert_eq!(seen(&model)[22], " line 79");
    update(&mut model, Message::Printed(of("web:1", Channel::Stdout), b"line 100\n".to_vec()));
    assert_eq!(seen(&model)[22], " line 79", "what is read stays");
    press(&mut model, &[KeyCode::Char('G')]);
    assert_eq!(seen(&model)[22], " line 100");
    assert_eq!(press(&mut model, &[KeyCode::Esc]), [Effect::Unfollow]);
    press(&mut model, &[KeyCode::Char('?')]);
    assert!(seen(&model).iter().any(|line| line.contains("restart it, after a y")));
    press(&mut model, &[KeyCode::Char(' ')]);
    assert_eq!(model.mode, Mode::Table);
}

#[test]
fn events_can_be_hidden_and_control_c_leaves_from_everywhere() {
    let mut model = model(80, 24);
    press(&mut model, &[KeyCode::Char('e')]);
    assert!(!seen(&model).iter().any(|line| line.contains("events ──")));
    for keys in [vec![], vec![KeyCode::Char('/')], vec![KeyCode::Enter], vec![KeyCode::Char('x')]] {
        press(&mut model, &keys);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(update(&mut model, Message::Key(key)), [Effect::Quit], "{keys:?}");
        press(&mut model, &[KeyCode::Esc]);
    }
}

#[test]
fn ten_thousand_instances_are_moved_through() {
    let mut model = model(80, 24);
    let many =
        (0..10_000).map(|n| row(&format!("web:{n}"), "RUNNING", &json!({ "pid": 7 }))).collect();
    update(&mut model, Message::Rows(many));
    press(&mut model, &[KeyCode::End]);
    let lines = seen(&model);
    assert!(lines[16].starts_with(" web:9999 "), "{lines:#?}");
    assert!(lines[1].starts_with(" 10000 instances  ● 10000 running"), "{:?}", lines[1]);
    press(&mut model, &[KeyCode::PageUp]);
    assert!(seen(&model)[6].starts_with(" web:9988 "), "{:#?}", seen(&model));
    press(&mut model, &[KeyCode::PageUp]);
    assert!(seen(&model)[6].starts_with(" web:9977 "), "{:#?}", seen(&model));
    press(&mut model, &[KeyCode::Home]);
    assert!(seen(&model)[6].starts_with(" web:0 "));
}
