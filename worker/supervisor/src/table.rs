//! All instances of a worker. Pure: it passes inputs on, and keeps what outlives an instance.

mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::worker::Refusal;
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::instance::{Effect, Files, Input, Instance, Placed};
use crate::protocol::{Anew, Order, Turns};

/// What is to be done, for which instance.
pub type Effects = Vec<(InstanceId, Effect)>;

/// The instances. As it is handed over to another version of the worker: its fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    worker: WorkerName,
    incarnation: Incarnation,
    instances: BTreeMap<InstanceId, Instance>,
    /// The last spec of each program: its instances share it.
    #[serde(skip)]
    specs: BTreeMap<ProgramName, Weak<ProgramSpec>>,
    /// The highest epoch seen per instance; a lower one is refused (rule 10). Of instances that are not
    /// here, [`EPOCHS_KEPT_MAX`](crate::protocol::EPOCHS_KEPT_MAX) at most.
    epochs: BTreeMap<InstanceId, Epoch>,
    /// In which order these were taken away.
    #[serde(default)]
    turns: Turns,
    leases: BTreeMap<u64, BootTime>,
    stopping: bool,
    /// Exclusive instances that were stopped because the bus had lost their placements.
    #[serde(default)]
    let_go: BTreeMap<InstanceId, Placement>,
    /// Where the events of those ended that are gone: they go on there, should the bus find the placement
    /// again.
    #[serde(default)]
    let_go_seq: BTreeMap<InstanceId, u64>,
    /// The last time that the bus began anew.
    #[serde(default)]
    anew: Option<Anew>,
}

impl Table {
    /// No instances yet.
    pub fn new(worker: WorkerName, incarnation: Incarnation) -> Table {
        Table {
            worker,
            incarnation,
            instances: BTreeMap::new(),
            specs: BTreeMap::new(),
            epochs: BTreeMap::new(),
            turns: Turns::default(),
            leases: BTreeMap::new(),
            stopping: false,
            let_go: BTreeMap::new(),
            let_go_seq: BTreeMap::new(),
            anew: None,
        }
    }

    /// The instances that are not among all placements of this worker.
    pub fn absent(&self, orders: &[Order]) -> Vec<InstanceId> {
        let named: BTreeSet<_> = orders.iter().map(|order| &order.name).collect();
        self.instances.keys().filter(|name| !named.contains(name)).cloned().collect()
    }

    /// A placement is new or changed; `files` is where the output of its children can be read.
    #[must_use]
    pub fn place(&mut self, order: Order, files: Files, now: Now) -> Effects {
        self.place_judged(order, files, None, now)
    }

    /// The same for one that was judged: `refusal` is why it may not be started here.
    #[must_use]
    pub fn place_judged(
        &mut self,
        order: Order,
        files: Files,
        refusal: Option<Refusal>,
        now: Now,
    ) -> Effects {
        let Order { name, placement, last } = order;
        let last = last.filter(|last| last.epoch == placement.epoch);
        let seq = last.map_or(0, |last| last.seq);
        let highest = self.epochs.entry(name.clone()).or_default();
        if placement.epoch < *highest {
            let (epoch, highest) = (placement.epoch, *highest);
            let reason = format!("{name}: epoch {epoch} is lower than {highest}, seen before");
            return vec![(name, Effect::Worker { change: WorkerChange::Refused, reason })];
        }
        *highest = placement.epoch;
        let let_go =
            self.forget_let_go(&name).filter(|(before, _)| before.epoch == placement.epoch);
        let seq = let_go.map_or(seq, |(_, counted)| seq.max(counted));
        if self.stopping {
            return Vec::new();
        }
        let lease = self.leases.get(&placement.spec.touch_seconds()).copied();
        let placed = self.shared(&name.program, Placed { refusal, ..Placed::from(placement) });
        let instance = self.instances.entry(name.clone()).or_insert_with(|| {
            let worker = self.worker.clone();
            Instance::new(name.clone(), worker, self.incarnation, placed.clone(), now)
        });
        instance.files(files);
        // Only a new epoch begins to count anew; the supervisor knows its own events better.
        instance.lease(lease);
        self.handle(&name, Input::Place { placed, seq }, now)
    }

    /// The same, with the spec that other instances of the program have if it is the same.
    fn shared(&mut self, program: &ProgramName, mut placed: Placed) -> Placed {
        let known = self.specs.get(program).and_then(Weak::upgrade);
        match known.filter(|known| *known == placed.spec) {
            Some(known) => placed.spec = known,
            None => {
                self.specs.insert(program.clone(), Arc::downgrade(&placed.spec));
            }
        }
        placed
    }

    /// Knows the specs of its instances, after it was read from what another version left.
    pub(crate) fn share_specs(&mut self) {
        let spec = |(name, instance): (&InstanceId, &Instance)| {
            (name.program.clone(), Arc::downgrade(instance.spec()))
        };
        self.specs = self.instances.iter().map(spec).collect();
    }

    /// Tells one instance.
    #[must_use]
    pub fn handle(&mut self, name: &InstanceId, input: Input, now: Now) -> Effects {
        let Some(instance) = self.instances.get_mut(name) else { return Vec::new() };
        if matches!(input, Input::Ended { .. }) {
            // The next child may live by another lease than the one that ended.
            let lease = self.leases.get(&instance.next_lease_seconds()).copied();
            instance.lease(lease);
        }
        let effects = instance.handle(input, now);
        if effects.iter().any(|effect| matches!(effect, Effect::Gone { .. })) {
            if self.let_go.get(name).is_some_and(|let_go| let_go.epoch == instance.epoch()) {
                self.let_go_seq.insert(name.clone(), instance.seq());
            }
            self.instances.remove(name);
            self.specs.retain(|_, spec| spec.strong_count() > 0);
        }
        effects.into_iter().map(|effect| (name.clone(), effect)).collect()
    }

    /// A lease was extended.
    #[must_use]
    pub fn lease(&mut self, seconds: u64, until: BootTime, now: Now) -> Effects {
        let known = self.leases.entry(seconds).or_default();
        *known = until.max(*known);
        let until = *known;
        let holders: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.lease_seconds() == Some(seconds))
            .map(|(name, _)| name.clone())
            .collect();
        let tell = |name: &InstanceId| self.handle(name, Input::Lease { until }, now);
        holders.iter().flat_map(tell).collect()
    }

    /// The worker stops, exclusive children at once if `fence`.
    #[must_use]
    pub fn shutdown(&mut self, fence: bool, now: Now) -> Effects {
        self.stopping = true;
        // What has the higher priority is asked first, as Supervisor does.
        let mut names: Vec<_> = self.instances.keys().cloned().collect();
        names.sort_by_key(|name| self.instances.get(name).map(|i| -i64::from(i.spec().priority)));
        let tell = |name: &InstanceId| self.handle(name, Input::Shutdown { fence }, now);
        names.iter().flat_map(tell).collect()
    }

    /// Tells how every instance stands.
    #[must_use]
    pub fn tell_all(&self) -> Effects {
        let told = |(name, instance): (&InstanceId, &Instance)| (name.clone(), instance.tell());
        self.instances.iter().map(told).collect()
    }

    /// Time has passed.
    #[must_use]
    pub fn tick(&mut self, now: Now) -> Effects {
        let due: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.deadline().is_some_and(|at| at <= now.boot))
            .map(|(name, _)| name.clone())
            .collect();
        due.iter().flat_map(|name| self.handle(name, Input::Tick, now)).collect()
    }

    /// When time alone makes a difference.
    pub fn deadline(&self) -> Option<BootTime> {
        self.instances.values().filter_map(Instance::deadline).min()
    }

    /// When the last resort acts: see [`crate::fence::last_resort`]. `None` while no exclusive
    /// child lives that was not killed.
    pub fn last_resort(&self) -> Option<BootTime> {
        self.instances
            .values()
            .filter(|instance| instance.unkilled())
            .filter_map(|instance| self.last_resort_of(instance.living_spec()))
            .min()
    }

    /// The same for a child of this spec.
    pub fn last_resort_of(&self, spec: &ProgramSpec) -> Option<BootTime> {
        let seconds = spec.touch_seconds();
        let until = self.leases.get(&seconds).copied().unwrap_or_default();
        spec.exclusive.then(|| crate::fence::last_resort(seconds, until))
    }

    /// An instance.
    pub fn get(&self, name: &InstanceId) -> Option<&Instance> {
        self.instances.get(name)
    }

    /// All instances.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceId, &Instance)> {
        self.instances.iter()
    }

    /// Leases: seconds, and until when.
    pub fn leases(&self) -> Vec<(u64, BootTime)> {
        self.leases.iter().map(|(seconds, until)| (*seconds, *until)).collect()
    }

    /// Whether no process of any instance lives.
    pub fn childless(&self) -> bool {
        self.instances.values().all(|instance| !instance.busy())
    }
}
