//! `dsbus alert letters`

use dsbus_alert::letters::{self, Dead, Letters};
use dsbus_client::Error;
use dsbus_schema::alert::{AlertName, DeadLetter, Letter, News, NewsKind};
use serde_json::json;

use crate::args::{AlertLetters, Data, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::{clock, describe, output};

const COLUMNS: [Column; 8] = [
    Column { title: "ID", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "RULE", leaves: 0, optional: false },
    Column { title: "TARGET", leaves: 0, optional: false },
    Column { title: "AGE", leaves: 1, optional: false },
    Column { title: "TRIES", leaves: 2, optional: false },
    Column { title: "ABOUT", leaves: 3, optional: false },
    Column { title: "WHY", leaves: 0, optional: true },
];

/// How much of an id is shown: enough to tell a thousand of them apart.
const ID_SHOWN: usize = 8;

/// Shows letters, or does something with the dead ones.
///
/// # Errors
/// When the bus holds no fleet, or an id means nothing.
pub(super) async fn run(config: &Config, args: &AlertLetters) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let found = match letters::letters(&connection.bus, &args.name).await {
        Ok(found) => found,
        Err(e) => return Err(connection.explain(e).await),
    };
    for (key, why) in &found.unreadable {
        output::warning(format_args!("the record {key} cannot be read, and is left alone: {why}"));
    }
    let dead = named(&found.dead, &args.ids)?;
    if args.retry || args.drop {
        return act(&connection, args, &dead).await;
    }
    match args.output {
        Format::Data(Data::Name) if args.ids.is_empty() => {
            let all = all_json(&found);
            output::data(Data::Name, &[&all["waiting"], &all["dead"]])?;
        }
        Format::Data(data) if args.ids.is_empty() => output::data(data, &all_json(&found))?,
        Format::Data(data) => {
            output::data(data, &dead.iter().map(|dead| dead_json(dead)).collect::<Vec<_>>())?;
        }
        Format::Text(wide) if args.ids.is_empty() => table(&found, &args.name, wide)?,
        Format::Text(_) => {
            for dead in dead {
                details(dead)?;
            }
        }
    }
    Ok(Code::Done)
}

/// Those whose ids begin so; all without one.
fn named<'a>(dead: &'a [Dead], ids: &[String]) -> Result<Vec<&'a Dead>, Failure> {
    if ids.is_empty() {
        return Ok(dead.iter().collect());
    }
    let find = |id: &String| {
        let wanted = id.to_ascii_lowercase();
        let mut fits = dead.iter().filter(|dead| {
            dead.id.to_string().starts_with(&wanted)
                || dead.id.simple().to_string().starts_with(&wanted)
        });
        match (fits.next(), fits.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(Failure::failed(format!(
                "more than one dead letter begins with {id}: give more of it"
            ))),
            (None, _) => Err(Failure::failed(format!("there is no dead letter {id}"))
                .hint("dsbus alert letters shows all")),
        }
    };
    ids.iter().map(find).collect()
}

async fn act(
    connection: &Connection,
    args: &AlertLetters,
    dead: &[&Dead],
) -> Result<Code, Failure> {
    let (bus, mut done) = (&connection.bus, 0);
    for dead in dead {
        let result = if args.retry {
            letters::retry(bus, &args.name, dead, clock::now()).await
        } else {
            letters::discard(bus, &args.name, dead).await
        };
        match result {
            Ok(()) => done += 1,
            // Somebody else did the same.
            Err(Error::LostRace { .. }) => {}
            Err(e) => return Err(connection.explain(e).await),
        }
    }
    let what = if done == 1 { "letter" } else { "letters" };
    let so = if args.retry { "tried again" } else { "forgotten" };
    let are = if done == 1 { "is" } else { "are" };
    output::line(format_args!("{done} dead {what} {are} {so}."))?;
    Ok(Code::Done)
}

fn table(found: &Letters, name: &AlertName, wide: Width) -> Result<(), Failure> {
    match &found.lease {
        Some(lease) => output::note(format_args!(
            "process {} on {} works at the rules of {name}",
            lease.pid, lease.host
        )),
        None => output::warning(format_args!("no dsbus alert of the name {name} runs")),
    }
    if found.lost > 0 {
        let lost = found.lost;
        output::note(format_args!("{lost} older dead letters made room for others, and are gone"));
    }
    if found.waiting.is_empty() && found.dead.is_empty() {
        output::note("every letter has arrived");
        return Ok(());
    }
    let waiting = found.waiting.iter().map(|(id, letter)| {
        let state = Text { text: "waiting".to_owned(), tone: Tone::Moving };
        cells(&id.simple().to_string(), state, letter, letter.why.as_deref())
    });
    let dead = found.dead.iter().map(|dead| {
        let state = Text { text: "dead".to_owned(), tone: Tone::Bad };
        let DeadLetter { letter, why, .. } = &dead.letter;
        cells(&dead.id.simple().to_string(), state, letter, Some(why))
    });
    output::table(wide, &COLUMNS, &waiting.chain(dead).collect::<Vec<_>>())?;
    Ok(())
}

fn cells(id: &str, state: Text, letter: &Letter, why: Option<&str>) -> Vec<Text> {
    vec![
        id[..ID_SHOWN.min(id.len())].into(),
        state,
        letter.news.rule.as_str().into(),
        target(letter).into(),
        describe::age(letter.posted, clock::now()).into(),
        letter.tries.to_string().into(),
        about(&letter.news).into(),
        why.unwrap_or_default().into(),
    ]
}

/// Where it goes, and to whom there.
fn target(letter: &Letter) -> String {
    match &letter.to {
        Some(to) => format!("{}: {to}", letter.target),
        None => letter.target.to_string(),
    }
}

/// What a letter tells, in few words.
fn about(news: &News) -> String {
    let names: Vec<&str> = news.labels.values().map(String::as_str).collect();
    let events = match (news.bundle.count, news.bundle.events.last()) {
        (1, Some(of)) => format!("{} {}", of.event.subject, of.event.data.type_name()),
        (1, None) => "1 event".to_owned(),
        (count, _) => format!("{count} events"),
    };
    match news.kind {
        NewsKind::Events => events,
        NewsKind::Flapping | NewsKind::Calm | NewsKind::Held | NewsKind::Test => {
            format!("{} {} ({events})", names.join(", "), news.kind.name()).trim().to_owned()
        }
    }
}

fn details(dead: &Dead) -> Result<(), Failure> {
    let DeadLetter { died, why, letter, .. } = &dead.letter;
    let news = &letter.news;
    output::list(&[
        ("id", dead.id.to_string().into()),
        ("rule", news.rule.as_str().into()),
        ("target", target(letter).into()),
        ("posted", letter.posted.to_string().into()),
        ("died", died.to_string().into()),
        ("tries", letter.tries.to_string().into()),
        ("why", why.as_str().into()),
        ("about", about(news).into()),
    ])?;
    for of in &news.bundle.events {
        let event = &of.event;
        output::line(format_args!(
            "  {}  {} {}  {}",
            event.time,
            event.subject,
            event.data.type_name(),
            describe::event::fact(&event.data)
        ))?;
    }
    Ok(())
}

fn all_json(found: &Letters) -> serde_json::Value {
    let waiting: Vec<_> =
        found.waiting.iter().map(|(id, letter)| json!({ "id": id, "letter": letter })).collect();
    json!({
        "lease": found.lease,
        "waiting": waiting,
        "dead": found.dead.iter().map(dead_json).collect::<Vec<_>>(),
        "lost": found.lost,
        "unreadable": found.unreadable,
    })
}

fn dead_json(dead: &Dead) -> serde_json::Value {
    let DeadLetter { died, why, letter, .. } = &dead.letter;
    json!({ "id": dead.id, "died": died, "why": why, "letter": letter })
}
