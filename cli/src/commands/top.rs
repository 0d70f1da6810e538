//! `dsbus top`: workers and instances, live, on the whole terminal. What is known is in [`model`],
//! what happens to it in [`mod@update`], what it looks like in [`view`], all pure; here are its edges.
//!
//! What it costs: events say what has changed, and only that is asked for; everything only now and
//! then. What instances use is asked of their workers, of those that are seen only.

mod asking;
mod log;
mod model;
mod update;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use dsbus_client::From;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::asking::Asking;
use self::model::Model;
use self::update::{Effect, Message, update};
use crate::args::Top;
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, output};

/// How often the screen is drawn at most: what happens in between is drawn together.
const DRAW_EVERY_MIN: Duration = Duration::from_millis(50);
/// Events of the past that are shown at first.
const EVENTS_FIRST: u64 = 30;
/// How often ages grow.
const TICK: Duration = Duration::from_secs(1);
/// Keys and answers that wait to be taken in; whoever has more of them waits.
const MESSAGES_MAX: usize = 256;

/// Shows it until somebody leaves.
///
/// # Errors
/// When there is no terminal, a name does not exist, or nobody answers at the beginning.
pub(super) fn run(config: &Config, args: Top) -> Result<Code, Failure> {
    if !io::stdin().is_terminal() || !output::is_terminal() {
        return Err(Failure::usage("top needs a terminal, and this is none")
            .hint("dsbus status shows the same once, dsbus events -f says what happens"));
    }
    connection::run(show(config, args))
}

/// The terminal, which is as it was before when this is dropped; ratatui sees to that on a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn enter() -> io::Result<Screen> {
        ratatui::try_init().map(Screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn show(config: &Config, args: Top) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let named = !args.names.is_empty();
    let mut live = connection.bus.live(args.names, From::Last(EVENTS_FIRST), "cli-top");
    let (sender, mut messages) = mpsc::channel(MESSAGES_MAX);
    let mut ends = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
    ];
    let mut screen = Screen::enter()?;
    let size = screen.0.size()?;
    let title = format!("{}  {}", config.fleet, connection.shown());
    let mut model = Model::new(title, (size.width, size.height), clock::now());
    model.colour = output::is_coloured();
    let mut asking = Asking::new(connection, named, sender.clone());
    apply(&mut model, &mut asking, Message::Rows(rows));
    keys(sender);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut dirty, mut drawn) = (true, Instant::now() - DRAW_EVERY_MIN);
    loop {
        let [terminate, hangup, interrupt] = &mut ends;
        let message = tokio::select! {
            biased;
            () = sleep_until(drawn + DRAW_EVERY_MIN), if dirty => {
                (dirty, drawn) = (false, Instant::now());
                screen.0.draw(|frame| view::view(&model, frame))?;
                continue;
            }
            _ = terminate.recv() => Message::End,
            _ = hangup.recv() => Message::End,
            _ = interrupt.recv() => Message::End,
            Some(message) = messages.recv() => message,
            news = live.next() => {
                for message in asking.heard(&model, news) {
                    dirty |= apply(&mut model, &mut asking, message);
                }
                continue;
            }
            _ = tick.tick() => Message::Tick(clock::now()),
            () = asking.due() => {
                asking.ask_usage(&model);
                continue;
            }
        };
        if let Message::Resize(..) = message {
            screen.0.autoresize()?;
        }
        if !apply(&mut model, &mut asking, message) {
            return Ok(Code::Done);
        }
        dirty = true;
    }
}

/// Takes a message in, and does what follows from it; whether it goes on.
fn apply(model: &mut Model, asking: &mut Asking, message: Message) -> bool {
    for effect in update(model, message) {
        match effect {
            Effect::Quit => return false,
            Effect::Act(verb, name) => asking.act(verb, name),
            Effect::Follow(name, channel) => asking.follow(name, channel),
            Effect::Unfollow => asking.unfollow(),
            Effect::AskUsage => asking.ask_usage(model),
        }
    }
    true
}

/// Reads keys, in a thread of its own: they come when they come. It ends with the process.
fn keys(sender: mpsc::Sender<Message>) {
    std::thread::spawn(move || {
        loop {
            let message = match event::read() {
                Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    Message::Key(key)
                }
                Ok(event::Event::Resize(columns, lines)) => Message::Resize(columns, lines),
                Ok(_) => continue,
                // The terminal is gone.
                Err(_) => Message::End,
            };
            let end = matches!(message, Message::End);
            if sender.blocking_send(message).is_err() || end {
                return;
            }
        }
    });
}
