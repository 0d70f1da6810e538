//! Signals to the worker itself.

use dsbus_schema::event::WorkerChange;
use dsbus_starter::Stage;

use super::{Driver, Ending};
use crate::clock;
use crate::protocol::ToAgent;

impl Driver {
    pub(super) fn heed_signals(&mut self) {
        for signal in self.poller.signals() {
            match signal {
                libc::SIGCHLD => {
                    self.reap();
                    self.bury(clock::now());
                    self.start_children();
                }
                libc::SIGTERM => self.terminate(),
                libc::SIGINT => self.stop("SIGINT", false),
                libc::SIGQUIT => self.stop("SIGQUIT", false),
                libc::SIGHUP => {
                    let read = self.reload();
                    // What is tried says later what became of it.
                    if !self.look_for_successor() {
                        self.home.note_reloaded(clock::now().boot, &read);
                    }
                    // Ready again, unless a new version is coming in.
                    self.tell_starter(clock::now().boot);
                }
                libc::SIGUSR2 => {
                    self.config.owner.reopen_log();
                    self.streams.outputs.reopen_all();
                    tracing::info!("SIGUSR2: all logs are opened again");
                }
                _ => tracing::info!("signal {signal} is ignored"),
            }
        }
    }

    /// Reads the worker's own configuration again. Children that live are left alone.
    /// Gives what is told of it.
    fn reload(&mut self) -> Result<String, String> {
        self.starter.stands(Stage::Reloading, "reads its configuration again");
        match self.config.owner.reload() {
            Ok(settings) => {
                self.streams.outputs.set_settings(&settings);
                self.config.settings = settings;
                self.describe();
                self.judge_all(clock::now());
                tracing::info!("SIGHUP: the configuration is read again; new children obey it");
                Ok("has read its configuration again; new children obey it".to_owned())
            }
            Err(why) => {
                tracing::error!("SIGHUP: the old configuration stays: {why}");
                Err(format!("the old configuration stays: {why}"))
            }
        }
    }

    /// Gives the instances away first, where the owner wants that; asked again, stops at once.
    fn terminate(&mut self) {
        match self.config.settings.drain {
            Some(patience) if self.ending == Ending::Not => {
                let limit = dsbus_schema::lenient::Span(patience);
                tracing::info!("SIGTERM: giving the instances away, for {limit} at most");
                self.ending = Ending::Draining(clock::now().boot + patience);
                self.agent.send(&ToAgent::Drain);
            }
            Some(_) | None => self.stop("SIGTERM", false),
        }
    }

    /// Begins to stop the worker; asked again, kills at once.
    pub(super) fn stop(&mut self, why: &str, fence: bool) {
        let now = clock::now();
        if !self.goes_on() {
            tracing::warn!("{why} again: killing what is left");
            let others = self.others();
            self.children.kill_all(&others, now.boot);
            self.errands.kill_all(now.boot);
            return;
        }
        tracing::info!("stopping: {why}");
        self.ending = Ending::Stopping;
        if !self.nameless {
            self.worker_event(WorkerChange::Stopping, Some(why.to_owned()));
        }
        self.agent.send(&ToAgent::Stopping { reason: why.to_owned() });
        let effects = self.table.shutdown(fence, now);
        self.perform(effects, now);
    }
}
