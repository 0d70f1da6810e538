//! A listener: prints what went wrong, and never misses any of it. Started again, it goes on where it
//! ended; started twice, the second stands by. Run it beside `dsbus dev`:
//! `NATS_URL=$(cat .dsbus/url) cargo run --package dsbus-listener --example listen`

use dsbus_listener::{Begin, Event, Fact, Listener, Options, Retry, run};
use std::io::{Write, stdout};

struct Print;

impl Listener for Print {
    async fn heard(&mut self, event: &Event) -> Result<(), Retry> {
        let (when, what, about) = (&event.time, event.data.type_name(), &event.subject);
        let why = match &event.data {
            Fact::Process(fact) => fact.reason.as_deref().unwrap_or_default(),
            Fact::Worker(fact) => fact.reason.as_deref().unwrap_or_default(),
            _ => "",
        };
        // An error here, and the event comes again.
        writeln!(stdout(), "{when} {about} {what} {why}")?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), dsbus_listener::Error> {
    let wrong = ["process.BACKOFF", "process.FATAL", "process.EXITED", "worker.LOST"];
    let options = Options::new("print-what-went-wrong")?.events(&wrong)?.begin(Begin::All);
    run(options, Print).await
}
