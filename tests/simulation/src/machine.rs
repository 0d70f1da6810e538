//! A worker's machine: the children that live on it, and what its kernel does by itself.

use std::collections::BTreeMap;

use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::moment::BootTime;
use dsbus_schema::state::Exit;
use uuid::Uuid;

use crate::dice::{MS, SECOND};
use crate::disk::Disk;
use crate::event::{Event, Run, Who};
use crate::owners::Rules;
use crate::planted::Planted;
use crate::world::World;

/// SIGKILL: to a process, and to a worker by the kernel's timer.
const KILL: i32 = 9;
/// SIGTERM.
const TERM: i32 = 15;

/// A child: its main process, and what that has started.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Kid {
    pub(crate) name: InstanceId,
    pub(crate) epoch: Epoch,
    pub(crate) exclusive: bool,
    /// The main process lives.
    pub(crate) main: bool,
    /// Something that it started lives.
    pub(crate) kin: bool,
    /// It does not end when it is asked to.
    stubborn: bool,
    /// It was killed, and is about to die.
    killed: bool,
    /// The supervisor asked it to stop, or killed it.
    pub(crate) asked: bool,
    pub(crate) parent: Run,
}

impl Kid {
    /// Whether anything of it lives.
    pub(crate) fn lives(&self) -> bool {
        self.main || self.kin
    }
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) boot: Uuid,
    pub(crate) disk: Option<Disk>,
    /// When it was switched on, on the virtual clock; its own clock began then at `clock`.
    booted: u64,
    clock: u64,
    pub(crate) powered: bool,
    pub(crate) frozen: bool,
    pub(crate) thawed: Option<u64>,
    pub(crate) deferred: Vec<Event>,
    pub(crate) kids: BTreeMap<i32, Kid>,
    pids: i32,
    /// When the kernel kills the supervisor, and how often that was set.
    pub(crate) last_resort: Option<BootTime>,
    pub(crate) resorts: u64,
    /// What its owner allows.
    pub(crate) rules: Rules,
}

impl Machine {
    pub(crate) fn new(boot: Uuid, clock: u64) -> Machine {
        Machine {
            boot,
            disk: None,
            booted: 0,
            clock,
            powered: true,
            frozen: false,
            thawed: None,
            deferred: Vec::new(),
            kids: BTreeMap::new(),
            pids: 100,
            last_resort: None,
            resorts: 0,
            rules: Rules::default(),
        }
    }

    /// Its CLOCK_BOOTTIME.
    pub(crate) fn clock(&self, now: u64) -> BootTime {
        BootTime(self.clock + now.saturating_sub(self.booted))
    }

    /// The virtual moment at which its clock shows `at`.
    pub(crate) fn moment(&self, at: BootTime) -> u64 {
        at.0.saturating_sub(self.clock) + self.booted
    }
}

impl World {
    /// A child is born.
    pub(crate) fn birth(
        &mut self,
        machine: usize,
        parent: Run,
        (name, epoch, exclusive): (&InstanceId, Epoch, bool),
    ) -> i32 {
        let stubborn = self.dice.one_in(5);
        let kin = self.dice.one_in(3);
        let m = &mut self.machines[machine];
        m.pids += 1;
        let pid = m.pids;
        let kid = Kid {
            name: name.clone(),
            epoch,
            exclusive,
            main: true,
            kin,
            stubborn,
            killed: false,
            asked: false,
            parent,
        };
        m.kids.insert(pid, kid);
        // Some end by themselves, a few of them at once.
        let life = match self.dice.range(0, 19) {
            0 => Some(self.dice.ms(1, 900)),
            1..=4 => Some(self.dice.ms(1_200, 40_000)),
            _ => None,
        };
        if let Some(life) = life.filter(|_| !self.quiet) {
            let exit = Exit::code(i32::from(self.dice.one_in(2)));
            let at = self.agenda.now() + life;
            self.agenda.at(at, Event::KidEnds { machine, pid, exit });
        }
        self.witness_birth(machine, pid);
        pid
    }

    /// A signal reaches a child, and with `tree` everything that it started.
    pub(crate) fn signal(&mut self, machine: usize, pid: i32, signal: i32, tree: bool) {
        let now = self.agenda.now();
        let Some(kid) = self.machines[machine].kids.get_mut(&pid) else { return };
        kid.asked = true;
        if signal == KILL {
            let (main, kin) = (kid.main && !kid.killed, kid.kin && tree);
            kid.killed = true;
            let at = now + self.dice.range(MS / 5, 3 * MS);
            if main {
                self.agenda.at(at, Event::KidEnds { machine, pid, exit: Exit::signal(KILL) });
            }
            if kin && self.setup.planted != Some(Planted::Tree) {
                self.agenda.at(at, Event::KinEnds { machine, pid });
            }
        } else if !kid.stubborn && kid.main {
            let at = now + self.dice.ms(1, 300);
            self.agenda.at(at, Event::KidEnds { machine, pid, exit: Exit::signal(TERM) });
        }
    }

    /// A child's main process ends.
    pub(crate) fn kid_ends(&mut self, machine: usize, pid: i32, exit: Exit) {
        let Some(kid) = self.machines[machine].kids.get_mut(&pid).filter(|kid| kid.main) else {
            return;
        };
        kid.main = false;
        let parent = kid.parent;
        self.witness_end(machine, pid);
        let at = self.agenda.now() + self.dice.range(MS / 20, MS);
        self.agenda.at(at, Event::Reap { to: parent, pid, exit });
        self.forget_kid(machine, pid);
    }

    /// What a child had started ends.
    pub(crate) fn kin_ends(&mut self, machine: usize, pid: i32) {
        if let Some(kid) = self.machines[machine].kids.get_mut(&pid) {
            kid.kin = false;
        }
        self.forget_kid(machine, pid);
    }

    fn forget_kid(&mut self, machine: usize, pid: i32) {
        let kids = &mut self.machines[machine].kids;
        if kids.get(&pid).is_some_and(|kid| !kid.lives()) {
            kids.remove(&pid);
        }
    }

    /// The supervisor of these children is dead: by their parent-death signal the main processes
    /// are, too. What they had started lives on, until somebody kills it.
    pub(crate) fn orphan(&mut self, parent: Run) {
        let Who::Supervisor(machine) = parent.who else { return };
        let of = |(pid, kid): (&i32, &Kid)| (kid.parent == parent).then_some(*pid);
        let pids: Vec<i32> = self.machines[machine].kids.iter().filter_map(of).collect();
        for pid in pids {
            if let Some(kid) = self.machines[machine].kids.get_mut(&pid) {
                kid.asked = true;
                kid.main = false;
            }
            self.witness_end(machine, pid);
            self.forget_kid(machine, pid);
        }
    }

    /// A starting worker ends what an earlier one left.
    pub(crate) fn sweep_leftovers(&mut self, machine: usize) {
        self.machines[machine].kids.clear();
    }

    /// The kernel's timer of a supervisor expires: it kills its owner.
    pub(crate) fn resort(&mut self, of: Run, number: u64) {
        let Who::Supervisor(machine) = of.who else { return };
        let m = &self.machines[machine];
        let due = m.last_resort.is_some_and(|at| at <= m.clock(self.agenda.now()));
        if due && m.resorts == number && self.lives(of) {
            self.note(|| format!("w{}: the kernel kills the supervisor", machine + 1));
            self.kill_process(of.who);
            let pause = self.dice.ms(300, 1_500);
            self.agenda.at(self.agenda.now() + pause, Event::Start(of.who));
        }
    }

    /// A machine loses its power.
    pub(crate) fn power_off(&mut self, machine: usize) {
        for who in [Who::Agent(machine), Who::Supervisor(machine)] {
            self.kill_process(who);
        }
        let m = &mut self.machines[machine];
        m.kids.clear();
        m.powered = false;
        m.frozen = false;
        m.deferred.clear();
        m.last_resort = None;
    }

    /// It is switched on again, and its worker starts.
    pub(crate) fn power_on(&mut self, machine: usize) {
        let (boot, now) = (self.dice.uuid(), self.agenda.now());
        let clock = self.dice.range(SECOND, 30 * SECOND);
        let m = &mut self.machines[machine];
        if m.powered {
            return;
        }
        (m.boot, m.booted, m.clock, m.powered) = (boot, now, clock, true);
        let start = now + self.dice.ms(50, 1_500);
        self.agenda.at(start, Event::Start(Who::Supervisor(machine)));
    }

    /// A machine stands still, or goes on.
    pub(crate) fn freeze_machine(&mut self, machine: usize, frozen: bool) {
        let now = self.agenda.now();
        let m = &mut self.machines[machine];
        if m.frozen == frozen {
            return;
        }
        m.frozen = frozen;
        if !frozen {
            m.thawed = Some(now);
            // Each process goes on with what waits for it, in order.
            for event in std::mem::take(&mut m.deferred) {
                self.agenda.at(now, event);
            }
        }
        self.witness_freeze(machine, frozen);
    }
}
