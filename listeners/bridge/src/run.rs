//! The loop: events from the bus, words of the listeners, time and signals into the pool; what the
//! pool wants done.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::appetite::Appetite;
use crate::frame::{self, Tokens};
use crate::pool::{Effect, Ended, Pool, Rules, Run, Tell, Time};
use crate::process::{Note, Process, Program};
use crate::render::{Renderer, name_of};
use crate::source::{Incoming, Source};
use crate::subscription::Subscription;

/// What happened to processes and was not looked at yet. Whoever has more to tell waits.
const NOTES_MAX: usize = 256;
/// Most notes that are looked at before the bus is.
const NOTES_AT_ONCE: usize = 64;

/// How a bridge is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The listener.
    pub program: Program,
    /// What it hears.
    pub subscription: Subscription,
    /// What the first line of each event says.
    pub tokens: Tokens,
    /// More than Supervisor's tokens.
    pub extra_tokens: bool,
    /// How the pool is run.
    pub rules: Rules,
    /// Most events that are held at once; each listener may always hold one.
    pub window: NonZeroU16,
    /// Others take of the same events.
    pub shared: bool,
    /// What asks a listener to end.
    pub stop_signal: Signal,
    /// What may be the reason when a listener ends before it has begun.
    pub hint: Option<String>,
}

impl Options {
    /// Most events that it holds at once.
    pub fn window(&self) -> NonZeroU16 {
        let size = u16::try_from(self.rules.size).unwrap_or(u16::MAX);
        self.window.max(NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN))
    }
}

/// What a bridge is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Ask the listeners to end by this signal, and end; a second time, kill them.
    Stop(Signal),
    /// Pass a signal on to the listeners.
    Pass(Signal),
}

/// How a bridge ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Its listener ended, and is not to be started again.
    Over(Ended),
    /// The listener cannot be started, and never could.
    NotStarted(String),
    /// The bus refuses, and will go on to.
    Refused(String),
}

/// Runs a bridge to its end. Must be called on a tokio runtime.
pub async fn run<S: Source>(
    mut source: S,
    options: Options,
    control: &mut mpsc::Receiver<Control>,
) -> End {
    let (notes, mut happened) = mpsc::channel(NOTES_MAX);
    let mut bridge = Bridge {
        pool: Pool::new(options.rules.clone()),
        renderer: Renderer::new(options.extra_tokens),
        processes: HashMap::new(),
        stop_signal: options.stop_signal,
        window: usize::from(options.window().get()),
        appetite: options.shared.then(|| Appetite::new(options.rules.size, options.window())),
        options,
        begun: Instant::now(),
        frame: Vec::new(),
        ever_started: false,
        end: None,
        notes,
    };
    let mut effects = Vec::new();
    bridge.pool.tick(bridge.now(), &mut effects);
    if let Some(appetite) = &bridge.appetite {
        source.hold(appetite.hold());
    }
    loop {
        bridge.act(&mut effects, &mut source);
        if bridge.is_over() {
            break;
        }
        let wake = bridge.wakes_in();
        let room = bridge.end.is_none() && bridge.pool.held() < bridge.window;
        tokio::select! {
            biased;
            // First: whoever ends a bridge waits for no listener.
            Some(control) = control.recv() => bridge.told(control, &mut effects),
            Some(note) = happened.recv() => {
                let mut note = Some(note);
                for _ in 0..NOTES_AT_ONCE {
                    let Some(one) = note else { break };
                    bridge.noted(one, &mut effects);
                    note = happened.try_recv().ok();
                }
            }
            incoming = source.next(), if room => match incoming {
                Ok(first) => bridge.take(first, &mut source, &mut effects),
                Err(why) => bridge.finish(End::Refused(why), &mut effects),
            },
            () = tokio::time::sleep(wake), if wake < Duration::MAX => {}
        }
        bridge.pool.tick(bridge.now(), &mut effects);
        let now = bridge.now();
        if let Some(hold) = bridge.appetite.as_mut().and_then(|appetite| appetite.changed(now)) {
            source.hold(hold);
        }
    }
    source.flush().await;
    bridge.end.unwrap_or(End::Stopped)
}

struct Bridge<K> {
    options: Options,
    pool: Pool<K>,
    renderer: Renderer,
    processes: HashMap<Run, Process>,
    stop_signal: Signal,
    window: usize,
    /// How many it holds of events that others take of.
    appetite: Option<Appetite>,
    begun: Instant,
    /// Where an event becomes bytes.
    frame: Vec<u8>,
    ever_started: bool,
    /// Why it ends, once it does.
    end: Option<End>,
    notes: mpsc::Sender<Note>,
}

impl<K: Incoming> Bridge<K> {
    fn now(&self) -> Time {
        self.begun.elapsed()
    }

    /// How long nothing is to be done, but for what happens.
    fn wakes_in(&self) -> Duration {
        let now = self.now();
        let appetite = self.appetite.as_ref().and_then(Appetite::wake_at);
        let at = self.pool.wake_at(now).into_iter().chain(appetite).min();
        at.map_or(Duration::MAX, |at| at.saturating_sub(now))
    }

    fn is_over(&self) -> bool {
        self.end.is_some() && self.processes.is_empty()
    }

    /// Ends it, with the first reason there was for that.
    fn finish(&mut self, end: End, effects: &mut Vec<Effect<K>>) {
        if self.end.is_none() {
            self.end = Some(end);
            self.pool.stop(self.now(), effects);
        }
    }

    /// Takes an event, and what is here already.
    fn take<S: Source<Key = K>>(&mut self, first: K, source: &mut S, effects: &mut Vec<Effect<K>>) {
        let mut next = Some(first);
        while let Some(key) = next {
            self.offered(key, source, effects);
            next = (self.pool.held() < self.window).then(|| source.next_here()).flatten();
        }
    }

    fn offered<S: Source<Key = K>>(
        &mut self,
        key: K,
        source: &mut S,
        effects: &mut Vec<Effect<K>>,
    ) {
        let (event, seq) = (key.event(), key.seq());
        let wanted = name_of(&event.data).is_some_and(|name| self.options.subscription.has(name));
        match self.renderer.render(event).filter(|_| wanted) {
            Some(rendered) => {
                let (id, said) = (event.id, (rendered.name, rendered.payload));
                self.pool.offer(key, (id, seq), said, self.now(), effects);
            }
            // Its subject is one of ours, and it is not.
            None => source.done(key),
        }
    }

    fn told(&mut self, control: Control, effects: &mut Vec<Effect<K>>) {
        match control {
            Control::Stop(signal) if self.end.is_none() => {
                tracing::info!("told to stop: the events that wait go back to the bus");
                self.stop_signal = signal;
                self.finish(End::Stopped, effects);
            }
            Control::Stop(_) => self.pool.stop(self.now(), effects),
            Control::Pass(signal) => {
                self.processes.values().for_each(|process| process.signal(signal));
            }
        }
    }

    fn noted(&mut self, note: Note, effects: &mut Vec<Effect<K>>) {
        let now = self.now();
        match note {
            Note::Said(run, bytes) => {
                self.pool.heard(run, &bytes, now, effects);
                if let (true, Some(process)) = (self.pool.is_deaf(run), self.processes.get(&run)) {
                    process.ignore();
                }
            }
            Note::Silent(run) => self.pool.silent(run, now),
            Note::Broken(run) => self.pool.broken(run, now, effects),
            Note::Ended(run, how) => {
                self.processes.remove(&run);
                self.pool.ended(run, how, now, effects);
            }
        }
    }

    /// Does what the pool wants done, and what comes of that.
    fn act<S: Source<Key = K>>(&mut self, effects: &mut Vec<Effect<K>>, source: &mut S) {
        while !effects.is_empty() {
            for effect in std::mem::take(effects) {
                self.act_one(effect, effects, source);
            }
        }
    }

    fn act_one<S: Source<Key = K>>(
        &mut self,
        effect: Effect<K>,
        effects: &mut Vec<Effect<K>>,
        source: &mut S,
    ) {
        match effect {
            Effect::Start(run) => self.start(run, effects),
            Effect::Give(run) => self.give(run),
            Effect::Stop(run) => self.with(run, Process::signal),
            Effect::Kill(run) => self.with(run, |process, _| process.kill()),
            Effect::Done(key) => {
                let now = self.now();
                self.appetite.iter_mut().for_each(|appetite| appetite.took(1, now));
                source.done(key);
            }
            Effect::Back(key) => source.back(key),
            Effect::Tell(tell) => {
                log(&self.options.tokens.pool, &tell);
                if let (true, Some(hint)) = (tell.early, &self.options.hint) {
                    tracing::info!("{hint}");
                }
                source.tell(&tell);
            }
            Effect::Over(ended) => self.finish(End::Over(ended), effects),
        }
    }

    fn start(&mut self, run: Run, effects: &mut Vec<Effect<K>>) {
        match Process::start(&self.options.program, run, &self.notes) {
            Ok(process) => {
                self.ever_started = true;
                self.processes.insert(run, process);
            }
            Err(e) => {
                let word = self.options.program.argv.first().map(|word| word.to_string_lossy());
                let why = format!("{}: {e}", word.unwrap_or_default());
                self.pool.not_started(run, &why, self.now(), effects);
                if !self.ever_started {
                    self.finish(End::NotStarted(why), effects);
                }
            }
        }
    }

    fn give(&mut self, run: Run) {
        let (Some(parcel), Some(process)) = (self.pool.given(run), self.processes.get(&run)) else {
            return;
        };
        self.frame.clear();
        let tokens = &self.options.tokens;
        frame::write(&mut self.frame, tokens, parcel.numbers, parcel.name, &parcel.payload);
        process.write(&self.frame);
    }

    fn with(&self, run: Run, act: impl FnOnce(&Process, Signal)) {
        if let Some(process) = self.processes.get(&run) {
            act(process, self.stop_signal);
        }
    }
}

fn log(pool: &str, tell: &Tell) {
    use dsbus_schema::event::ListenerChange;
    match tell.change {
        Some(ListenerChange::Accepted) => tracing::info!("{pool}: {}", tell.text),
        Some(_) | None => tracing::warn!("{pool}: {}", tell.text),
    }
}
