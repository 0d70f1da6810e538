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
    pub(super) alive: Option<i32>,
}

impl Scene {
    pub(super) fn new(p: &Placement) -> Scene {
        let files = Files { stdout: "out".into(), stderr: "err".into() };
        let worker = WorkerName::parse("w1").unwrap();
        let incarnation = Incarnation(Uuid::nil());
        let name: InstanceId = "web:0".parse().unwrap();
        Scene {
            instance: Instance::new(name, worker, incarnation, files, p.clone(), at(0)),
            pids: 100,
            spawn_fails: false,
            told: Vec::new(),
            status: None,
            last: (0, 0),
            alive: None,
        }
    }

    pub(super) fn put(&mut self, p: &Placement, millis: u64) -> Vec<String> {
        self.put_after(p, 0, millis)
    }

    pub(super) fn put_after(&mut self, p: &Placement, seq: u64, millis: u64) -> Vec<String> {
        self.feed(Input::Place { placement: Box::new(p.clone()), seq }, millis)
    }

    pub(super) fn end(&mut self, exit: Exit, millis: u64) -> Vec<String> {
        self.alive = None;
        self.feed(Input::Ended { exit, stderr_line: Some("last words".into()) }, millis)
    }

    pub(super) fn feed(&mut self, input: Input, millis: u64) -> Vec<String> {
        let mut inputs = vec![input];
        let before = self.told.len();
        while let Some(input) = inputs.pop() {
            for effect in self.instance.handle(input, at(millis)) {
                inputs.extend(self.perform(effect, millis));
            }
        }
        self.told[before..].to_vec()
    }

    pub(super) fn perform(&mut self, effect: Effect, millis: u64) -> Option<Input> {
        match effect {
            Effect::Spawn { spec, epoch } => {
                assert_eq!(self.alive, None, "a second child");
                if spec.exclusive {
                    assert!(at(millis).boot < self.instance.lease, "started without a lease");
                }
                self.told.push(format!("spawn e{epoch}"));
                if self.spawn_fails {
                    return Some(Input::SpawnFailed { why: "no such file".into() });
                }
                self.pids += 1;
                self.alive = Some(self.pids);
                Some(Input::Spawned { pid: self.pids })
            }
            Effect::Signal { pid, signal } => {
                assert_eq!(self.alive, Some(pid));
                self.told.push(format!("signal {signal}"));
                None
            }
            Effect::Kill { pid } => {
                assert_eq!(self.alive, Some(pid));
                self.told.push("kill".to_owned());
                None
            }
            Effect::Report { status, fact } => {
                if let Some(fact) = fact {
                    let (epoch, seq) = self.last;
                    let next = (fact.epoch.0, fact.seq);
                    assert!(
                        next == (epoch, seq + 1) || next.0 > epoch,
                        "{next:?} after {:?}",
                        self.last
                    );
                    self.last = next;
                    assert_eq!((status.state, status.seq), (fact.state, fact.seq));
                    assert_ne!(fact.from, fact.state, "no change of state");
                    self.told.push(format!("{} -> {}", fact.from, fact.state));
                }
                assert_eq!(
                    status.pid.is_some(),
                    status.state.may_have_child() && status.pid.is_some()
                );
                self.status = Some(*status);
                None
            }
            Effect::Gone { .. } => {
                assert_eq!(self.alive, None);
                self.told.push("gone".to_owned());
                None
            }
            Effect::Worker { change, .. } => {
                self.told.push(format!("{change:?}"));
                None
            }
        }
    }

    pub(super) fn status(&self) -> &Status {
        self.status.as_ref().unwrap()
    }
}
