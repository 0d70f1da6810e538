//! A scene: an instance, and a driver that does what it is told and checks it.

use super::*;

/// An instance and the driver's part: it spawns what it is asked to spawn.
pub(super) struct Scene {
    pub(super) instance: Instance,
    pub(super) pids: i32,
    pub(super) spawn_fails: bool,
    pub(super) told: Vec<String>,
    pub(super) status: Option<Status>,
    /// (epoch, seq) of the last event.
    pub(super) last: (u64, u64),
    pub(super) alive: Vec<i32>,
    pub(super) hooks: Vec<HookId>,
    /// A child that was asked for, and whether it waits for its turn.
    wanted: Option<(Arc<ProgramSpec>, Epoch)>,
    pub(super) slow: bool,
    /// The last notice.
    pub(super) notice: Option<NoticeFact>,
}

impl Scene {
    pub(super) fn new(p: &Placement) -> Scene {
        let worker = WorkerName::parse("w1").unwrap();
        let incarnation = Incarnation(Uuid::nil());
        let name: InstanceId = "web:0".parse().unwrap();
        Scene {
            instance: Instance::new(name, worker, incarnation, p.clone().into(), at(0)),
            pids: 100,
            spawn_fails: false,
            told: Vec::new(),
            status: None,
            last: (0, 0),
            alive: Vec::new(),
            hooks: Vec::new(),
            wanted: None,
            slow: false,
            notice: None,
        }
    }

    pub(super) fn put(&mut self, p: &Placement, millis: u64) -> Vec<String> {
        self.put_after(p, 0, millis)
    }

    pub(super) fn put_after(&mut self, p: &Placement, seq: u64, millis: u64) -> Vec<String> {
        self.feed(Input::Place { placed: p.clone().into(), seq }, millis)
    }

    /// The youngest child ends.
    pub(super) fn end(&mut self, exit: Exit, millis: u64) -> Vec<String> {
        let pid = *self.alive.last().unwrap();
        self.end_of(pid, exit, millis)
    }

    pub(super) fn end_of(&mut self, pid: i32, exit: Exit, millis: u64) -> Vec<String> {
        self.alive.retain(|alive| *alive != pid);
        let (usage, stderr_line) = (Some(Usage::default()), Some("last words".into()));
        self.feed(Input::Ended(End { pid, exit, usage, stderr_line, oom: false }), millis)
    }

    pub(super) fn hook_ends(
        &mut self,
        point: HookPoint,
        outcome: HookOutcome,
        millis: u64,
    ) -> Vec<String> {
        let found = self.hooks.iter().find(|id| id.point == point).copied();
        let hook = found.unwrap_or_else(|| panic!("{point} does not run"));
        self.hooks.retain(|running| *running != hook);
        self.feed(Input::HookEnded { hook, outcome }, millis)
    }

    pub(super) fn feed(&mut self, input: Input, millis: u64) -> Vec<String> {
        let before = self.told.len();
        self.take(input, millis);
        while !self.slow && self.wanted.is_some() {
            self.turn(millis);
        }
        self.told[before..].to_vec()
    }

    fn take(&mut self, input: Input, millis: u64) {
        for effect in self.instance.handle(input, at(millis)) {
            self.perform(effect);
        }
    }

    /// The child that was asked for has its turn.
    pub(super) fn turn(&mut self, millis: u64) {
        let Some((spec, epoch)) = self.wanted.take() else { return };
        let input = if !self.instance.still_wants(&spec, epoch, at(millis).boot) {
            Input::NotSpawned
        } else if self.spawn_fails {
            self.told.push(format!("spawn e{epoch}"));
            Input::SpawnFailed { why: "no such file".into() }
        } else {
            self.spawn(&spec, epoch, millis)
        };
        self.take(input, millis);
    }

    fn spawn(&mut self, spec: &ProgramSpec, epoch: Epoch, millis: u64) -> Input {
        if spec.exclusive {
            assert_eq!(self.alive, [0; 0], "a second child");
            assert!(at(millis).boot < self.instance.lease, "started without a lease");
        }
        self.told.push(format!("spawn e{epoch}"));
        self.pids += 1;
        self.alive.push(self.pids);
        Input::Spawned { pid: self.pids }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { spec, epoch } => {
                assert!(self.wanted.is_none(), "asked twice");
                assert!(self.alive.len() < 3, "too many children");
                self.wanted = Some((spec, epoch));
            }
            Effect::Signal { pid, signal, group } => {
                assert!(self.alive.contains(&pid));
                let group = if group { " to its group" } else { "" };
                self.told.push(format!("signal {signal}{group}"));
            }
            Effect::Kill { pid } => {
                assert!(self.alive.contains(&pid));
                self.told.push("kill".to_owned());
            }
            Effect::Hook { id, .. } => {
                assert!(!self.hooks.contains(&id), "{id:?} runs twice");
                self.hooks.push(id);
                self.told.push(id.point.to_string());
            }
            Effect::KillHook { id } => {
                assert!(self.hooks.contains(&id), "{id:?} does not run");
                self.told.push(format!("kill {}", id.point));
            }
            Effect::Ask { pid, question, .. } => {
                assert!(self.alive.contains(&pid));
                self.told.push(format!("ask {question:?}"));
            }
            Effect::Change { pid, .. } => assert!(self.alive.contains(&pid)),
            Effect::Report { status, fact } => self.hear(*status, fact),
            Effect::Notice(fact) => {
                self.told.push(format!("{:?}", fact.change));
                self.notice = Some(*fact);
            }
            Effect::Gone { .. } => {
                assert_eq!((self.alive.len(), self.hooks.len()), (0, 0));
                self.told.push("gone".to_owned());
            }
            Effect::Worker { change, .. } => self.told.push(format!("{change:?}")),
            Effect::EndWorker { code, .. } => self.told.push(format!("end worker {code}")),
        }
    }

    fn hear(&mut self, status: Status, fact: Option<Box<ProcessFact>>) {
        if let Some(fact) = fact {
            let (epoch, seq) = self.last;
            let next = (fact.epoch.0, fact.seq);
            assert!(next == (epoch, seq + 1) || next.0 > epoch, "{next:?} after {:?}", self.last);
            self.last = next;
            assert_eq!((status.state, status.seq), (fact.state, fact.seq));
            assert_ne!(fact.from, fact.state, "no change of state");
            self.told.push(format!("{} -> {}", fact.from, fact.state));
        }
        assert!(status.pid.is_none() || status.state.may_have_child());
        self.status = Some(status);
    }

    pub(super) fn status(&self) -> &Status {
        self.status.as_ref().unwrap()
    }

    pub(super) fn notice(&self) -> &NoticeFact {
        self.notice.as_ref().unwrap()
    }
}
