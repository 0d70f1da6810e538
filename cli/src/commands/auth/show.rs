//! `dsbus auth list` and `permissions`

use std::fmt::Write;

use dsbus_schema::ids::FleetName;
use dsbus_schema::permit::{Permissions, inbox, listener_subject, permissions as of};
use serde_json::{Value, json};

use super::book::{Book, User};
use crate::args::{AuthList, AuthPermissions, Data, Format};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text};

const COLUMNS: [Column; 4] = [
    Column { title: "USER", leaves: 0, optional: false },
    Column { title: "ROLE", leaves: 0, optional: false },
    Column { title: "KEY", leaves: 1, optional: false },
    Column { title: "MORE", leaves: 0, optional: true },
];

/// Lists users.
pub(super) fn list(args: &AuthList) -> Result<Code, Failure> {
    let book = Book::read(&args.at.directory)?;
    match args.output {
        Format::Data(data) => {
            let rows: Vec<Value> = book.users.iter().map(|user| row(&book, user)).collect();
            output::data(data, &rows)?;
        }
        Format::Text(wide) => {
            let rows: Vec<Vec<Text>> = book.users.iter().map(|user| cells(&book, user)).collect();
            output::table(wide, &COLUMNS, &rows)?;
        }
    }
    Ok(Code::Done)
}

fn row(book: &Book, user: &User) -> Value {
    let subject = user.hears.as_ref().map(|hears| listener_subject(&book.fleet, hears));
    json!({
        "name": user.name,
        "role": user.role,
        "key": user.key,
        "old_key": user.old_key,
        "listeners": user.listeners,
        "verbs": user.verbs,
        "hears": user.hears,
        "subject": subject,
    })
}

fn cells(book: &Book, user: &User) -> Vec<Text> {
    let mut more = Vec::new();
    more.extend(user.verbs.as_ref().map(|verbs| format!("may {}", verbs.join(", "))));
    if let Some(hears) = &user.hears {
        let events: Vec<String> = hears.events().iter().map(ToString::to_string).collect();
        let events = if events.is_empty() { "all events".to_owned() } else { events.join(", ") };
        // One subject is permitted, which may be wider than what was asked for.
        more.push(if hears.subjects(&book.fleet).len() > 1 {
            let subject = listener_subject(&book.fleet, hears);
            format!("asked for {events}, and may hear all of {subject}")
        } else {
            format!("hears {events}")
        });
    }
    more.extend(user.listeners.then(|| "runs event listeners".to_owned()));
    more.extend(user.old_key.as_ref().map(|_| "the old key holds, too".to_owned()));
    vec![
        user.name.to_string().into(),
        user.role.clone().into(),
        user.key.clone().into(),
        more.join("; ").into(),
    ]
}

/// Prints what a role may do.
pub(super) fn permissions(
    args: &AuthPermissions,
    fleet: Option<&FleetName>,
) -> Result<Code, Failure> {
    let (name, role) = args.role.role().map_err(Failure::usage)?;
    let fleet = fleet.cloned().unwrap_or_default();
    let durables: Vec<String> = args.durables.iter().map(ToString::to_string).collect();
    let of = of(&fleet, &name, &role, &durables);
    if args.nsc {
        output::line(nsc(&name, &of))?;
        output::note(format_args!("and say inbox_prefix = \"{}\" to dsbus", inbox(&name, &role)));
        return Ok(Code::Done);
    }
    let said = json!({
        "publish": { "allow": of.publish, "deny": of.publish_deny },
        "subscribe": { "allow": of.subscribe },
    });
    output::data(Data::Json, &said)?;
    Ok(Code::Done)
}

/// As nsc takes them.
fn nsc(name: &str, of: &Permissions) -> String {
    let mut text = format!("nsc add user --name {name}");
    for (option, subjects) in [
        ("--allow-pub", &of.publish),
        ("--deny-pub", &of.publish_deny),
        ("--allow-sub", &of.subscribe),
    ] {
        for subject in subjects {
            // Writing to a String cannot fail.
            let _ = write!(text, " \\\n  {option} '{subject}'");
        }
    }
    text
}
