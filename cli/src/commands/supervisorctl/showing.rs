//! Actions that only show.

use dsbus_schema::ids::Target;
use dsbus_schema::state::State;
use jiff::tz::TimeZone;

use super::controller::{
    Controller, GENERIC, NOT_RUNNING, STATUS_NOT_RUNNING, STATUS_UNKNOWN, all,
};
use super::reading;
use crate::args::Attach;
use crate::clock;
use crate::commands::attach;
use crate::failure::Failure;
use crate::output;
use dsbus_gateway::processes::{self, Named, Process};

impl Controller {
    pub(super) async fn status(&mut self, words: &[&str]) -> Result<(), Failure> {
        let all = all(&self.open_bus().await?).await?;
        let mut shown: Vec<&Process> = Vec::new();
        if words.is_empty() || words.contains(&"all") {
            shown.extend(&all);
        } else {
            for name in words {
                match processes::named(&all, name) {
                    Named::One(one) => shown.push(one),
                    Named::Group(members) => shown.extend(members),
                    Named::NoProcess => self.unknown(name, "process", STATUS_UNKNOWN)?,
                    Named::NoGroup => {
                        self.unknown(processes::split(name).0, "group", STATUS_UNKNOWN)?;
                    }
                }
            }
        }
        for line in processes::table(&shown, clock::now(), &TimeZone::system()) {
            output::line(line)?;
        }
        if shown.iter().any(|one| one.stopped()) {
            self.code = STATUS_NOT_RUNNING;
        }
        Ok(())
    }

    pub(super) async fn pid(&mut self, words: &[&str]) -> Result<(), Failure> {
        if words.is_empty() {
            return self.has_none(
                "Error: a fleet has no one supervisord; dsbus workers -o wide shows theirs",
            );
        }
        let all = all(&self.open_bus().await?).await?;
        if words.contains(&"all") {
            for one in &all {
                output::line(one.row.pid.unwrap_or(0))?;
            }
            return Ok(());
        }
        for name in words {
            match processes::named(&all, name) {
                Named::One(one) => {
                    output::line(one.row.pid.unwrap_or(0))?;
                    if one.row.pid.is_none() {
                        self.code = NOT_RUNNING;
                    }
                }
                Named::Group(_) | Named::NoProcess | Named::NoGroup => {
                    self.code = GENERIC;
                    output::line(format_args!("No such process {name}"))?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn avail(&mut self) -> Result<(), Failure> {
        for one in all(&self.open_bus().await?).await? {
            output::line(one.available())?;
        }
        Ok(())
    }

    pub(super) async fn tail(&mut self, words: &[&str]) -> Result<(), Failure> {
        let connection = self.open_bus().await?;
        let wanted = match reading::tail(words) {
            Ok(wanted) => wanted,
            Err(reading::Wrong { said, help: true }) => return self.usage("tail", &said),
            Err(reading::Wrong { said, help: false }) => {
                self.code = GENERIC;
                return Ok(output::line(said)?);
            }
        };
        let all = all(&connection).await?;
        let found = match processes::named(&all, wanted.name) {
            Named::One(one) => reading::show(&self.config, &connection, one, &wanted).await?,
            Named::Group(_) | Named::NoProcess | Named::NoGroup => Some("no such process name"),
        };
        if let Some(why) = found {
            self.code = GENERIC;
            output::line(format_args!("{}: ERROR ({why})", wanted.name))?;
        }
        Ok(())
    }

    pub(super) async fn foreground(&mut self, words: &[&str]) -> Result<(), Failure> {
        let connection = self.open_bus().await?;
        let [name] = words else {
            if words.is_empty() {
                return self.usage("fg", "ERROR: no process name supplied");
            }
            self.code = GENERIC;
            return Ok(output::line("ERROR: too many process names supplied")?);
        };
        let all = all(&connection).await?;
        let Named::One(one) = processes::named(&all, name) else {
            self.code = GENERIC;
            return Ok(output::line("ERROR: bad process name supplied")?);
        };
        if one.row.state != State::Running {
            self.code = GENERIC;
            return Ok(output::line("ERROR: process not running")?);
        }
        output::line("==> Press Ctrl-C to exit <==")?;
        let name = Target::Instance(one.row.name.clone());
        attach::run(&self.config, &Attach { name, lines: 0, eof: false }).await?;
        Ok(output::line("Exiting foreground")?)
    }
}
