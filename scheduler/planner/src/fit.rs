//! Which worker an instance fits on, and which of those is best.

mod deltas;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::goal::{REFUSED_MAX, RefusedBy};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::program::{Facility, ProgramSpec, Strategy};
use dsbus_schema::state::WorkerState;
use dsbus_schema::worker::Worker;

use crate::view::host::{Reserved, millis};
use crate::view::{Host, Slot, View};

pub(crate) use deltas::Deltas;
pub(crate) use refusal::Refusal;

/// Names of workers that are told in one reason; of more only the number is.
const NAMED_MAX: usize = 5;
/// Measured load is compared in steps of so many hundredths: a little more or less decides nothing.
const LOAD_STEP: u64 = 10;

/// Why a worker cannot take an instance with that spec whatever else runs there, or `None`.
pub(crate) fn misfit(spec: &ProgramSpec, host: &Host) -> Option<Refusal> {
    misfit_of(spec, &spec.needs(), host)
}

/// The same; `needs` are those of the spec.
fn misfit_of(spec: &ProgramSpec, needs: &[Facility], host: &Host) -> Option<Refusal> {
    let record = &host.record.as_ref()?.value;
    if !spec.machines.is_empty() && !spec.machines.contains(&record.name) {
        return Some(Refusal::NotNamed);
    }
    if let Some(rule) = spec.labels.iter().find(|rule| !rule.holds(&record.labels)) {
        return Some(Refusal::Label(rule.to_string()));
    }
    let lacks: Vec<_> = needs.iter().filter(|need| !record.has(need, spec)).cloned().collect();
    if !lacks.is_empty() {
        return Some(Refusal::Lacks(lacks));
    }
    record
        .policy
        .as_ref()
        .and_then(|policy| policy.bars(spec))
        .map(|bar| Refusal::Forbids(bar.to_string()))
}

/// What came of earlier placements of an instance, since a person last asked for something new.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past<'a> {
    /// Where it ended FATAL.
    pub(crate) failed_on: &'a [WorkerName],
    /// Who refused to run it.
    pub(crate) refused: Vec<&'a RefusedBy>,
}

impl Past<'_> {
    fn is_empty(&self) -> bool {
        self.failed_on.is_empty() && self.refused.is_empty()
    }

    /// Why this worker is not asked again.
    fn bars(&self, worker: &Worker) -> Option<Refusal> {
        if self.failed_on.contains(&worker.name) {
            return Some(Refusal::SawFatal);
        }
        let known = self.refused.iter().find(|by| by.worker == worker.name);
        if let Some(by) = known {
            // Another policy may allow it.
            let same = by.refusal.policy == worker.policy_digest();
            return same.then(|| Refusal::Refused(by.refusal.reason.clone()));
        }
        (self.refused.len() >= REFUSED_MAX).then_some(Refusal::RefusedByMany)
    }
}

/// An instance that looks for a worker.
pub(crate) struct Ask<'a> {
    view: &'a View,
    name: &'a InstanceId,
    spec: &'a ProgramSpec,
    needs: Vec<Facility>,
    /// Programs that it keeps apart from, and that keep apart from it.
    apart: BTreeSet<&'a ProgramName>,
    past: Past<'a>,
    reserved: Reserved,
    /// Copies of the program by the numbers of workers; empty, where each worker is better asked.
    copies: Vec<u32>,
}

impl<'a> Ask<'a> {
    /// An instance that is to run `spec`, and has that past.
    pub(crate) fn new(
        view: &'a View,
        name: &'a InstanceId,
        spec: &'a ProgramSpec,
        past: Past<'a>,
    ) -> Ask<'a> {
        let others = view.index.apart(&name.program).into_iter().flatten();
        Ask {
            view,
            name,
            spec,
            needs: spec.needs(),
            apart: spec.anti_affinity.iter().chain(others).collect(),
            past,
            reserved: Reserved::of(spec),
            copies: copies(view, &name.program),
        }
    }

    fn copies(&self, host: &Host, deltas: &Deltas) -> u64 {
        match self.copies.get(host.number) {
            Some(here) => u64::from(*here) + deltas.new_copies(host.number, &self.name.program),
            None => deltas.copies(host, &self.name.program),
        }
    }

    /// Why a worker cannot take it, or `None`.
    pub(crate) fn refusal(&self, host: &Host, deltas: &Deltas) -> Option<Refusal> {
        if host.state != WorkerState::Ready {
            return Some(Refusal::State(host.state));
        }
        let slot = self.view.slots.get(host.number)?;
        self.bar(host, deltas).or_else(|| self.no_room(host.number, slot, deltas))
    }

    /// Why a worker that is ready and has room cannot take it.
    fn bar(&self, host: &Host, deltas: &Deltas) -> Option<Refusal> {
        if let Some(misfit) = misfit_of(self.spec, &self.needs, host) {
            return Some(misfit);
        }
        if let Some(bar) = self.past.bars(&host.record.as_ref()?.value) {
            return Some(bar);
        }
        if self.spec.system && deltas.hosts(host, &self.name.program) {
            return Some(Refusal::HasCopy);
        }
        let other = self.apart.iter().find(|other| deltas.hosts(host, other))?;
        Some(Refusal::Beside((*other).clone()))
    }

    /// Whether [`Ask::bar`] can find anything at all.
    fn is_choosy(&self) -> bool {
        let Ask { spec, needs, apart, past, .. } = self;
        let free = spec.machines.is_empty()
            && spec.labels.is_empty()
            && needs.is_empty()
            && apart.is_empty()
            && past.is_empty();
        spec.system || !free
    }

    fn no_room(&self, number: usize, slot: &Slot, deltas: &Deltas) -> Option<Refusal> {
        if self.reserved == Reserved::default() {
            return None;
        }
        let taken = deltas.reserved(number, slot);
        // A worker that tells no capacity is an older one, and takes what it is given.
        let left =
            |all: u64, taken: u64| if all == 0 { u64::MAX } else { all.saturating_sub(taken) };
        let cpu = left(slot.capacity.millicpu, taken.millicpu);
        if self.reserved.millicpu > cpu {
            return Some(Refusal::Cpu { left: cpu, asked: self.reserved.millicpu });
        }
        let memory = left(slot.capacity.memory, taken.memory);
        (self.reserved.memory > memory)
            .then_some(Refusal::Memory { left: memory, asked: self.reserved.memory })
    }

    /// What a worker is compared by: the least is best, by name among equals.
    pub(crate) fn score(
        &self,
        host: &Host,
        deltas: &Deltas,
        spread: &BTreeMap<&'a str, u64>,
    ) -> [u64; 3] {
        let Some(slot) = self.view.slots.get(host.number) else { return [u64::MAX; 3] };
        let instances = deltas.instances(host.number, slot);
        let zone = self.spec.spread_by.as_ref().map_or(0, |label| {
            host_label(host, label).map_or(u64::MAX, |v| spread.get(v).copied().unwrap_or(0))
        });
        match self.spec.strategy {
            Strategy::Spread => [zone, self.copies(host, deltas), instances],
            Strategy::Pack => [zone, u64::MAX - instances, 0],
            Strategy::Ordered => {
                let name = host.record.as_ref().map(|record| &record.value.name);
                let at = self.spec.machines.iter().position(|machine| Some(machine) == name);
                [zone, at.map_or(0, |at| at as u64), 0]
            }
            Strategy::LeastLoaded => [zone, load(host, slot, deltas), instances],
            Strategy::MostLoaded => [zone, u64::MAX - load(host, slot, deltas), instances],
        }
    }

    /// The same, where no more need be known of a worker than its slot.
    fn quick_score(&self, number: usize, slot: &Slot, deltas: &Deltas) -> Option<[u64; 3]> {
        if self.spec.spread_by.is_some() || self.spec.strategy != Strategy::Spread {
            return None;
        }
        let here = u64::from(*self.copies.get(number)?);
        let copies = here + deltas.new_copies(number, &self.name.program);
        Some([0, copies, deltas.instances(number, slot)])
    }

    /// A score in words.
    pub(crate) fn words(&self, score: [u64; 3]) -> String {
        let [zone, second, third] = score;
        let plural =
            |n: u64, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
        let copies = |n: u64| if n == 1 { "1 copy".to_owned() } else { format!("{n} copies") };
        let mut words = match self.spec.strategy {
            Strategy::Spread => format!("{}, {}", copies(second), plural(third, "instance")),
            Strategy::Pack => plural(u64::MAX - second, "instance"),
            Strategy::Ordered => format!("place {} of its machines", second + 1),
            Strategy::LeastLoaded => format!("about {second} % loaded"),
            Strategy::MostLoaded => format!("about {} % loaded", u64::MAX - second),
        };
        if let Some(label) = &self.spec.spread_by {
            let in_zone = if zone == u64::MAX {
                format!("no {label}")
            } else {
                format!("{} in its {label}", copies(zone))
            };
            words = format!("{in_zone}, {words}");
        }
        words
    }

    /// How many copies of the program there are by value of the label that it is spread by.
    pub(crate) fn spread(&self, deltas: &Deltas) -> BTreeMap<&'a str, u64> {
        let mut spread = BTreeMap::new();
        let Some(label) = &self.spec.spread_by else { return spread };
        for host in self.view.hosts.values() {
            if let Some(value) = host_label(host, label) {
                *spread.entry(value).or_insert(0) += self.copies(host, deltas);
            }
        }
        spread
    }

    /// The best worker of those that can take it, not being `except`.
    ///
    /// # Errors
    /// When none can: why, for people.
    pub(crate) fn choose(
        &self,
        except: Option<&WorkerName>,
        deltas: &Deltas,
    ) -> Result<(&'a WorkerName, [u64; 3]), String> {
        let spread = self.spread(deltas);
        let choosy = self.is_choosy();
        let except_number = except.and_then(|worker| Some(self.view.hosts.get(worker)?.number));
        let mut best: Option<(&'a WorkerName, [u64; 3])> = None;
        for number in &self.view.by_name {
            let Some(slot) = self.view.slots.get(*number).filter(|slot| slot.is_ready) else {
                continue;
            };
            if except_number == Some(*number) || self.no_room(*number, slot, deltas).is_some() {
                continue;
            }
            let choosy = choosy || slot.guarded;
            let quick = if choosy { None } else { self.quick_score(*number, slot, deltas) };
            let score = match quick {
                Some(score) => score,
                None => {
                    let Some(host) = self.view.hosts.get(&slot.worker) else { continue };
                    if choosy && self.bar(host, deltas).is_some() {
                        continue;
                    }
                    self.score(host, deltas, &spread)
                }
            };
            // They come in the order of their names: the first of equals stays.
            if best.is_none_or(|(_, least)| score < least) {
                best = Some((&slot.worker, score));
            }
        }
        best.ok_or_else(|| self.why_not(except, deltas))
    }

    /// Why no worker can take it.
    fn why_not(&self, except: Option<&WorkerName>, deltas: &Deltas) -> String {
        let known = || self.view.hosts.iter().filter(|(_, host)| host.record.is_some());
        if known().next().is_none() {
            return "no worker has ever joined this fleet".to_owned();
        }
        let mut by_reason: BTreeMap<Refusal, Vec<&str>> = BTreeMap::new();
        for (worker, host) in known().filter(|(worker, _)| except != Some(*worker)) {
            match self.refusal(host, deltas) {
                // Each facility by itself, so that workers which lack the same are told together.
                Some(Refusal::Lacks(all)) => {
                    for facility in all {
                        let lack = Refusal::Lacks(vec![facility]);
                        by_reason.entry(lack).or_default().push(worker.as_str());
                    }
                }
                Some(refusal) => by_reason.entry(refusal).or_default().push(worker.as_str()),
                None => {}
            }
        }
        let mut told: Vec<String> = by_reason
            .iter()
            .map(|(refusal, workers)| {
                let several = workers.len() > 1;
                format!("{} {}", named(workers), refusal.words(several))
            })
            .collect();
        let strange = |machine: &&WorkerName| self.view.worker(machine).is_none();
        let strange: Vec<&str> =
            self.spec.machines.iter().filter(strange).map(WorkerName::as_str).collect();
        if !strange.is_empty() {
            let has = if strange.len() == 1 { "has" } else { "have" };
            told.push(format!("{} {has} never joined this fleet", named(&strange)));
        }
        if told.is_empty() {
            return "no other worker can take it".to_owned();
        }
        format!("no worker can take it: {}", told.join("; "))
    }
}

/// Copies of a program by the numbers of workers, if it has so few that this is the shorter way.
fn copies(view: &View, program: &ProgramName) -> Vec<u32> {
    let Some(entry) = view.programs.get(program) else { return Vec::new() };
    if entry.instances.len() > view.hosts.len() {
        return Vec::new();
    }
    let mut copies = vec![0; view.slots.len()];
    for placed in entry.instances.values().flat_map(|instance| &instance.placements) {
        if let Some(count) = copies.get_mut(placed.host) {
            *count += 1;
        }
    }
    copies
}

fn named(workers: &[&str]) -> String {
    match workers.len() {
        0..=NAMED_MAX => workers.join(", "),
        many => format!("{} and {} more", workers[..NAMED_MAX].join(", "), many - NAMED_MAX),
    }
}

fn host_label<'a>(host: &'a Host, label: &str) -> Option<&'a str> {
    host.record.as_ref()?.value.labels.get(label).map(String::as_str)
}

/// How loaded a worker is, in hundredths: the most of what is declared and what was measured, of
/// processors and of memory.
fn load(host: &Host, slot: &Slot, deltas: &Deltas) -> u64 {
    let Some(record) = &host.record else { return 0 };
    let facts = &record.value.facts;
    let share = |part: u64, all: u64| (part.saturating_mul(100)).checked_div(all).unwrap_or(0);
    let reserved = deltas.reserved(host.number, slot);
    let measured_memory = facts.memory_total.saturating_sub(facts.memory_available);
    let measured = share(millis(facts.load[0]), u64::from(facts.cores) * 1000)
        .max(share(measured_memory, facts.memory_total));
    share(reserved.millicpu, slot.capacity.millicpu)
        .max(share(reserved.memory, slot.capacity.memory))
        .max(measured / LOAD_STEP * LOAD_STEP)
}
