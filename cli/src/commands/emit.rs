//! `dsbus emit TYPE [TEXT|-]`

use std::io::Read;

use dsbus_client::Error;
use dsbus_schema::event::{Event, Fact, Source, USER_TEXT_MAX, UserFact};
use serde_json::json;
use uuid::Uuid;

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::describe::size;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, output};

/// A try takes 2 s when nobody answers, and an election of a new leader up to 9 s.
const TRIES_MAX: u32 = 6;

/// Says something on the bus. Needs the bus, not the schedulers.
///
/// # Errors
/// When the text is too long or is not the JSON that it should be, when the bus holds no fleet, and
/// when the event cannot be stored.
pub(super) async fn run(config: &Config, args: &args::Emit) -> Result<Code, Failure> {
    let text = text(args)?;
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let fact = UserFact { by: config.user.clone(), name: args.name.clone(), text };
    let bus = &connection.bus;
    let id = Uuid::now_v7();
    let event = Event::new(bus.fleet(), &Source::User, id, clock::now(), Fact::User(fact));
    let mut tries = 1;
    let seq = loop {
        match bus.store_event(&Source::User, &event).await {
            Ok(seq) => break seq,
            // The id makes it be stored once.
            Err(Error::Timeout) if tries < TRIES_MAX => tries += 1,
            Err(e) => return Err(connection.explain(e).await),
        }
    };
    match args.output {
        Format::Data(data) => output::data(data, &json!({ "id": id, "seq": seq }))?,
        Format::Text(_) => output::line(format_args!("{}: told, as sequence {seq}", args.name))?,
    }
    Ok(Code::Done)
}

fn text(args: &args::Emit) -> Result<String, Failure> {
    let text = if args.text == "-" {
        let mut text = Vec::new();
        // One more than is allowed shows that there is more.
        std::io::stdin().take(USER_TEXT_MAX as u64 + 1).read_to_end(&mut text)?;
        String::from_utf8(text).map_err(|_| {
            Failure::failed("standard input is not UTF-8; encode it first, in base64")
        })?
    } else {
        args.text.clone()
    };
    if text.len() > USER_TEXT_MAX {
        let most = size::whole(USER_TEXT_MAX as u64);
        return Err(Failure::failed(format!("the text is longer than {most}"))
            .hint("put it where others can read it, and say where that is"));
    }
    if args.json
        && let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
    {
        return Err(Failure::failed(format!("the text is not JSON: {why}")));
    }
    Ok(text)
}
