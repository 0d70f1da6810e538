//! The facts about the machine, and when a change of them is worth a message. Pure but for
//! [`look`]; the loop looks when it is awake anyway, so that facts never wake it up.

pub(crate) mod look;

use std::collections::VecDeque;
use std::time::Duration;

use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::worker::{Disk, Facts};

use look::{Busy, Fixed, Slow, Ticks};

/// How often one looks, at most; nor is anything told more often.
const LOOK: Duration = Duration::from_secs(2);
/// So often a change is told that one can notice.
const TELL: Duration = Duration::from_secs(10);
/// So often the facts are told although nothing has changed that one would notice.
const TELL_AT_LEAST: Duration = Duration::from_secs(60);
/// Over how many looks it is counted how busy the processors were: ten seconds are long enough that
/// a single program's start does not make a machine look busy.
const LOOKS: usize = 5;
/// How long it may take to look at file systems; after that one looks again. One that does not
/// answer keeps one thread waiting each time, and in the end no more than tokio has of them.
const SLOW_MAX: Duration = Duration::from_secs(600);

/// From which difference on something has changed.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// In points of [`Facts::cpu_percent`].
    cpu: f64,
    /// In shares of all memory or of all swap space.
    memory: f64,
    /// Of the load of one minute, in shares of the number of processors; at least so much as if
    /// there were one.
    load: f64,
    /// In shares of a file system.
    disk: f64,
}

/// One sees it in a table.
const NOTICED: Steps = Steps { cpu: 5.0, memory: 0.02, load: 0.25, disk: 0.01 };
/// Somebody may want to act on it.
const MUCH: Steps = Steps { cpu: 25.0, memory: 0.10, load: 1.0, disk: 0.05 };

/// What is known of the machine, and what was told of it.
#[derive(Debug)]
pub(crate) struct Watched {
    fixed: Fixed,
    busy: Busy,
    looked: Option<BootTime>,
    /// Ticks at the last looks, the oldest first.
    ticks: VecDeque<Ticks>,
    slow: Slow,
    slow_asked: Option<BootTime>,
    told: Option<(Facts, BootTime)>,
}

impl Watched {
    pub(crate) fn new(fixed: Fixed) -> Watched {
        Watched {
            fixed,
            busy: Busy::default(),
            looked: None,
            ticks: VecDeque::with_capacity(LOOKS + 1),
            slow: Slow::default(),
            slow_asked: None,
            told: None,
        }
    }

    /// Whether it is time to look.
    pub(crate) fn due(&self, now: BootTime) -> bool {
        self.looked.is_none_or(|at| now.since(at) >= LOOK)
    }

    /// What was seen.
    pub(crate) fn seen(&mut self, busy: Busy, now: BootTime) {
        self.looked = Some(now);
        self.ticks.push_back(busy.ticks);
        if self.ticks.len() > LOOKS + 1 {
            self.ticks.pop_front();
        }
        self.busy = busy;
    }

    /// Whether it is time to look at what may take time; it is answered by
    /// [`Watched::seen_slowly`].
    pub(crate) fn due_slowly(&mut self, now: BootTime) -> bool {
        let due = self.slow_asked.is_none_or(|at| now.since(at) >= TELL);
        if due {
            // Until the answer comes nobody looks again.
            self.slow_asked = Some(now + SLOW_MAX);
        }
        due
    }

    /// What was seen at last.
    pub(crate) fn seen_slowly(&mut self, slow: Slow, now: BootTime) {
        (self.slow, self.slow_asked) = (slow, Some(now));
    }

    /// The facts as of now.
    pub(crate) fn facts(&self, now: BootTime, wall: Timestamp) -> Facts {
        let (busy, fixed, slow) = (&self.busy, &self.fixed, &self.slow);
        Facts {
            at: Some(wall),
            cpu_percent: self.cpu_percent(),
            load: busy.load.map(hundredths),
            cores: busy.cores,
            memory_total: busy.memory_total,
            memory_available: busy.memory_available,
            swap_total: busy.swap_total,
            swap_free: busy.swap_free,
            disks: slow.disks.clone(),
            uptime_seconds: now.since(BootTime(0)).as_secs(),
            kernel: fixed.kernel.clone(),
            os: fixed.os.clone(),
            arch: fixed.arch.clone(),
            addresses: slow.addresses.clone(),
        }
    }

    /// These facts are being written.
    pub(crate) fn told(&mut self, facts: Facts, now: BootTime) {
        self.told = Some((facts, now));
    }

    /// Whether these facts are worth a message now. The first ones are told with the record, and
    /// not before.
    pub(crate) fn worth_telling(&self, facts: &Facts, now: BootTime) -> bool {
        let Some((old, at)) = &self.told else { return false };
        match now.since(*at) {
            since if since < LOOK => false,
            since if since < TELL => differ(old, facts, MUCH),
            since if since < TELL_AT_LEAST => differ(old, facts, NOTICED),
            _ => true,
        }
    }

    fn cpu_percent(&self) -> f64 {
        let (Some(old), Some(new)) = (self.ticks.front(), self.ticks.back()) else { return 0.0 };
        // Ticks of waiting for a disk may go backwards (proc(5)).
        let idle = new.idle.saturating_sub(old.idle);
        let all = new.all.saturating_sub(old.all);
        if all == 0 {
            return 0.0;
        }
        let busy = float(all.saturating_sub(idle)) / float(all);
        (busy * 1000.0).round() / 10.0
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// For shares only.
#[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more digits")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Whether something has changed by at least a step. What has no degrees differs or does not.
fn differ(old: &Facts, new: &Facts, steps: Steps) -> bool {
    let far = |old: f64, new: f64, step: f64| (old - new).abs() >= step;
    let share = |old: u64, new: u64, of: u64, step: f64| {
        of > 0 && float(old.abs_diff(new)) >= step * float(of)
    };
    let disks = |old: &[Disk], new: &[Disk]| {
        old.len() != new.len()
            || old.iter().zip(new).any(|(old, new)| {
                old.path != new.path
                    || old.total != new.total
                    || share(old.available, new.available, new.total, steps.disk)
            })
    };
    far(old.cpu_percent, new.cpu_percent, steps.cpu)
        || far(old.load[0], new.load[0], steps.load * f64::from(new.cores.max(1)))
        || share(old.memory_available, new.memory_available, new.memory_total, steps.memory)
        || share(old.swap_free, new.swap_free, new.swap_total, steps.memory)
        || disks(&old.disks, &new.disks)
        || (old.cores, old.memory_total, old.swap_total)
            != (new.cores, new.memory_total, new.swap_total)
        || old.addresses != new.addresses
}

#[cfg(test)]
mod tests;
