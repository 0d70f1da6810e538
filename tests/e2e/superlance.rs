//! superlance 2.0.0 as it is published: crashmail, crashmailbatch and fatalmailbatch.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_schema::event::{Event, Fact, Period, Source, TickFact};
use dsbus_schema::moment::Timestamp;

use crate::bridge::{Bridge, Lines};
use crate::bus::connect;
use crate::fleet::{DEADLINE, Fleet};
pub(crate) use crate::supervisord::python_path;

/// Where nobody answers: none of the three calls there, but all look whether it is set.
const SERVER_URL: &str = "http://127.0.0.1:9";

/// A tick, as the schedulers tell it.
async fn tick(fleet: &Fleet, when: i64) {
    let bus = connect(fleet).await;
    let fact = TickFact { tick: Period::Minute, when };
    let id = fact.id(bus.fleet());
    let time = Timestamp::from_unix_nanos(i128::from(when) * 1_000_000_000);
    let event = Event::new(bus.fleet(), &Source::Fleet, id, time, Fact::Tick(fact));
    bus.publish_event(&Source::Fleet, &event).await.unwrap();
}

/// A mail server that keeps what it is sent: whole messages, without the dialogue.
fn mail_server() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mails) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mail) = serve(stream.unwrap()) else { continue };
            if sender.send(mail).is_err() {
                return;
            }
        }
    });
    (port, mails)
}

fn serve(mut stream: TcpStream) -> std::io::Result<String> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let (mut mail, mut reading) = (String::new(), false);
    stream.write_all(b"220 test\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "." if reading => {
                reading = false;
                "250 kept"
            }
            _ if reading => {
                mail.push_str(&line);
                mail.push('\n');
                continue;
            }
            "DATA" => {
                reading = true;
                "354 go on"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n")?;
                break;
            }
            _ => "250 fine",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(mail)
}

/// Text that is no ASCII, in many forms, and ends of lines that are none of Unix.
const WORDS: &str = "grüße, 世界 🦀 e\u{301}\r\nhalf a line\rthe other half\r";

#[test]
fn crashmail_sends_a_mail_through_a_sendmail() {
    let fleet = Fleet::start(1, 1);
    let mails = Lines::of(&fleet, "mails");
    let sendmail = fleet.file("sendmail", &format!("#!/bin/sh\ncat >> {}\n", mails.path()));
    std::fs::set_permissions(&sendmail, PermissionsExt::from_mode(0o755)).unwrap();
    let words = fleet.file("words", WORDS);
    let path = python_path();
    let events = "PROCESS_STATE,PROCESS_LOG,PROCESS_COMMUNICATION,REMOTE_COMMUNICATION";
    let args = [
        "-e",
        events,
        "--name",
        "crashmail",
        "--server-url",
        SERVER_URL,
        "--",
        "python3",
        "-m",
        "superlance.crashmail",
        "-a",
        "-m",
        "ops@example.com",
        "-o",
        "fleet",
        "-s",
        &sendmail,
    ];
    let bridge = Bridge::start(&fleet, &args, &[("PYTHONPATH", &path)]);
    bridge.wait_log("crashmail listens to");
    // It prints what is no ASCII before it ends: if the bridge and crashmail counted that in
    // different ways, crashmail would not see the end.
    fleet.ok(&[
        "create",
        "shop",
        // Who waits for it on a busy machine may find that it has failed.
        "--no-wait",
        "--autorestart",
        "false",
        "--startsecs",
        "0",
        "--stdout-events-enabled",
        "true",
        "--",
        "sh",
        "-c",
        &format!("cat {words}; cat {words} >&2; sleep 0.2; cat {words}; exit 3"),
    ]);
    let lines =
        mails.wait("a mail", |lines| lines.iter().any(|line| line.contains("exited unexpectedly")));
    assert!(lines.contains(&"To: ops@example.com".to_owned()), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("Subject: fleet: shop crashed at ")),
        "{lines:?}"
    );
    let pid =
        fleet.wait_event("its end", |e| e["data"]["state"] == "EXITED")["data"]["pid"].clone();
    let body =
        format!("Process shop in group shop exited unexpectedly (pid {pid}) from state RUNNING");
    assert!(lines.last().unwrap().starts_with(&body), "{lines:?}");
    assert_eq!(bridge.stop(), Some(0));
}

#[test]
fn one_that_misses_its_server_is_told_what_to_do() {
    let fleet = Fleet::start(1, 0);
    let args = ["--", "python3", "-m", "superlance.crashmail", "-a"];
    let bridge = Bridge::start(&fleet, &args, &[("PYTHONPATH", &python_path())]);
    bridge.wait_log("crashmail must be run as a supervisor event listener");
    bridge.wait_log("ended with exit code 0 before it said READY");
    bridge.wait_log("give --server-url");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_mailers_send_what_a_minute_gathered() {
    let fleet = Fleet::start(1, 1);
    let (path, (port, mails)) = (python_path(), mail_server());
    // Listeners as programs of the fleet.
    let listener = |name: &str| {
        format!(
            "[eventlistener.{name}]\nevents = [\"PROCESS_STATE\", \"TICK_60\"]\nserverurl = \"{SERVER_URL}\"\n\
             command = [\"python3\", \"-m\", \"superlance.{name}\", \"--toEmail=ops@example.com\", \
             \"--fromEmail=dsbus@example.com\", \"--smtpHost=127.0.0.1:{port}\", \"--subject={name}\"]\n\
             environment = {{ PYTHONPATH = \"{path}\" }}\n"
        )
    };
    fleet.apply(&["crashmailbatch", "crashsms", "fatalmailbatch"].map(listener).concat());
    let programs = "[program.crash]\ncommand = \"sh -c 'sleep 0.2; exit 3'\"\nshell = true\nautorestart = false\nstartsecs = 0\n\
        [program.fatal]\ncommand = \"false\"\nstartretries = 1\nmax_fail_count = 1\n";
    fleet.ok(&["apply", "--no-wait", &fleet.file("failing.toml", programs)]);
    fleet.wait_event("the crash", |e| e["data"]["state"] == "EXITED");
    fleet.wait_event("the failure", |e| e["data"]["state"] == "FATAL");
    tick(&fleet, 1_800_000_060).await;
    let mut seen: Vec<String> = (0..3).map(|_| mails.recv_timeout(DEADLINE).unwrap()).collect();
    let subject =
        |mail: &String| mail.lines().find(|line| line.starts_with("Subject")).map(str::to_owned);
    seen.sort_by_key(subject);
    assert!(
        seen[0].contains("Process crash:crash (pid ") && seen[0].contains(") died unexpectedly"),
        "{seen:?}"
    );
    assert!(
        seen[0].contains("Subject: crashmailbatch") && seen[0].contains("To: ops@example.com"),
        "{seen:?}"
    );
    assert!(
        seen[1].contains("Subject: crashsms")
            && seen[1].contains("[crash:crash](")
            && seen[1].contains(") exited unexpectedly"),
        "{seen:?}"
    );
    assert!(seen[2].contains("Process fatal:fatal failed to start too many times"), "{seen:?}");
    assert!(!seen[2].contains("crash:crash"), "{seen:?}");
    tick(&fleet, 1_800_000_120).await;
    assert!(mails.recv_timeout(Duration::from_secs(2)).is_err(), "nothing was gathered since");
}
