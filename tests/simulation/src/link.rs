//! The edge of a supervisor towards its agent: started, spoken with, replaced when it does not
//! answer.

use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::worker::{Capacity, Labels};
use dsbus_supervisor::clock::Now;
use dsbus_supervisor::instance::Instance;
use dsbus_supervisor::protocol::{AGENT_PINGS, Child, Hello, Report, ToAgent};

use crate::dice::MS;
use crate::event::{Event, Run, Who};
use crate::supervisor::{Ending, Link, child_of};
use crate::world::World;

/// The times are those of the supervisor's own link.
pub(crate) const QUIET: Duration = AGENT_PINGS.saturating_add(Duration::from_millis(100));
pub(crate) const ANSWER_MAX: Duration = Duration::from_millis(600);
pub(crate) const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(100);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);
pub(crate) const YOUNG: Duration = Duration::from_secs(10);

impl World {
    pub(crate) fn tend_agent(&mut self, n: usize, run: Run, now: Now) {
        let Some(s) = &mut self.supervisors[n] else { return };
        if let Some(link) = &mut s.link {
            let silent = match link.asked {
                Some(asked) => now.boot.since(asked) >= ANSWER_MAX,
                None if !link.spoken => now.boot.since(link.started) >= FIRST_WORD_MAX,
                None => false,
            };
            if silent {
                let agent = link.run;
                self.note(|| format!("w{}: the agent does not answer; replacing it", n + 1));
                self.agent_lost(n, now.boot);
                if self.lives(agent) {
                    self.kill_process(agent.who);
                }
            } else if link.spoken && link.asked.is_none() && now.boot.since(link.heard) >= QUIET {
                link.asked = Some(now.boot);
                self.supervisor_says(n, ToAgent::Ping { number: now.boot.0 });
            }
        }
        let Some(s) = &mut self.supervisors[n] else { return };
        if s.link.is_none() && now.boot >= s.start_at {
            self.start_agent(n, run, now);
        }
    }

    pub(crate) fn agent_lost(&mut self, n: usize, now: BootTime) {
        let Some(s) = &mut self.supervisors[n] else { return };
        let Some(link) = s.link.take() else { return };
        if now.since(link.started) < YOUNG {
            s.start_at = now + s.pause;
            s.pause = (s.pause * 2).min(PAUSE_MAX);
        } else {
            s.start_at = now;
            s.pause = PAUSE_MIN;
        }
    }

    pub(crate) fn start_agent(&mut self, n: usize, run: Run, now: Now) {
        let agent = self.begin(Who::Agent(n));
        let kids = self.machines[n].kids.iter().filter(|(_, kid)| kid.parent == run && kid.main);
        let Some(s) = &self.supervisors[n] else { return };
        let lease = |name: &InstanceId| s.table.get(name).and_then(Instance::lease_seconds);
        let child = |(pid, kid): (&i32, &crate::machine::Kid)| {
            child_of(&kid.name, kid.epoch, *pid, lease(&kid.name))
        };
        let children: Vec<Child> = kids.map(child).collect();
        let leases = s.table.leases();
        let (held, memory) = (s.table.held(), Some(s.table.memory()));
        let let_go = s.table.all_let_go().map(|(name, placed)| (name.clone(), placed.clone()));
        let let_go: Vec<_> = let_go.collect();
        let statuses = s.table.statuses().map(|(name, status)| (name.clone(), Box::new(status)));
        let statuses: Vec<_> = statuses.collect();
        let worker = self.worker(n);
        let boot = self.agenda.now() + self.dice.ms(5, 80);
        let Some(s) = &mut self.supervisors[n] else { return };
        s.generation += 1;
        s.link = Some(Link {
            run: agent,
            started: now.boot,
            heard: now.boot,
            spoken: false,
            asked: None,
        });
        s.say_at = boot;
        let hello = Hello {
            worker,
            incarnation: s.incarnation,
            generation: s.generation,
            started: s.started,
            supervisor_pid: i32::try_from(run.number).unwrap_or(1),
            directory: "/d".to_owned(),
            stopping: s.ending != Ending::Not,
            draining: false,
            labels: Labels::default(),
            capacity: Capacity::default(),
            policy: s.rules.facts(),
            seal_key: None,
            children,
            facilities: Vec::new(),
            leases,
            held: held.len(),
            memory,
        };
        let waiting: Vec<Report> = s.reports.iter().cloned().collect();
        let leaving = matches!(s.ending, Ending::Bye(_));
        self.supervisor_says(n, ToAgent::Hello(hello));
        for (name, placement) in held {
            self.supervisor_says(n, ToAgent::Held { name, placement: Box::new(placement) });
        }
        for (name, placement) in let_go {
            self.supervisor_says(n, ToAgent::LetGo { name, placement: Box::new(placement) });
        }
        for (name, status) in statuses {
            self.supervisor_says(n, ToAgent::Stands { name, status });
        }
        for report in waiting {
            self.supervisor_says(n, ToAgent::Report(report));
        }
        if leaving {
            self.supervisor_says(n, ToAgent::Bye);
        }
    }

    /// The supervisor says something to its agent, over the socket.
    pub(crate) fn supervisor_says(&mut self, n: usize, message: ToAgent) {
        let way = self.dice.range(MS / 50, MS / 2);
        let now = self.agenda.now();
        let Some(s) = &mut self.supervisors[n] else { return };
        let Some(link) = &s.link else { return };
        s.say_at = s.say_at.max(now + way);
        let (to, at) = (link.run, s.say_at);
        self.agenda.at(at, Event::Said { to, message: Box::new(message) });
    }
}
