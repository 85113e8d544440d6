//! What the campaigns against processors share: a fleet, its judge, what is measured after each round, and the end, at
//! which everything is judged and audited.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::bus::{Isolation, Next, Offsets, Reader};

use crate::campaign::Trial;
use crate::rig::audit::audit;
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::{Fleet, Ops};
use crate::rig::judge::{Judge, Judged, is_committed};

/// What a worker logs, with the time since the assignment, when it has committed for the first time.
pub const FIRST_COMMIT: &str = "first commit after the assignment";
/// From an assignment to the first commit: what is measured, and how long it may take.
const RECOVERY: &str = "assignment to first commit";
const RECOVERY_LIMIT: Duration = Duration::from_secs(5);
/// How far an offset is looked back to find an event: markers lie between.
const BACK: i64 = 20;

/// See the module.
pub struct Stage {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    judge: Judge,
    offsets: Offsets,
    /// The last event of each killed or frozen process, if it is not known yet whether it was committed.
    places: Vec<(i32, i64)>,
}

impl Stage {
    /// Nothing happened yet.
    pub fn new(fleet: &Arc<Fleet>) -> Self {
        Self {
            judge: Judge::new(fleet),
            offsets: Offsets::new(&fleet.settings).unwrap(),
            fleet: fleet.clone(),
            places: Vec::new(),
        }
    }

    /// Kills a process in the midst of whatever it does. Says when, and which partitions it had written last.
    pub fn kill(&mut self, name: &str, ops: &mut Ops) -> (Instant, Vec<i32>) {
        let writers = self.fleet.writers();
        let partitions: Vec<i32> =
            (0..).zip(&writers).filter(|(_, writer)| is_of(writer, name)).map(|(p, _)| p).collect();
        ops.kill_now();
        let killed_at = Instant::now();
        self.note_death(&partitions);
        (killed_at, partitions)
    }

    /// The owner of these partitions is gone: remembers what it had published last.
    fn note_death(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            let end = self.offsets.watermarks(&self.fleet.topics.incidents, partition).unwrap().high;
            self.places.extend(self.last_event(partition, end).map(|offset| (partition, offset)));
        }
    }

    /// The last event before `end`, committed or not.
    fn last_event(&self, partition: i32, end: i64) -> Option<i64> {
        let Fleet { settings, topics, .. } = &*self.fleet;
        let start = [(partition, (end - BACK).max(0))];
        let mut reader = Reader::open(settings, &topics.incidents, Isolation::Uncommitted, start).unwrap();
        reader.until([(partition, end)]);
        let mut last = None;
        loop {
            match reader.next(PATIENCE).unwrap() {
                Next::Record(message) => last = Some(message.offset()),
                Next::End => return last,
                Next::Idle => panic!("{}/{partition} has no end {end}", topics.incidents),
            }
        }
    }

    /// Keeps what a process has said of itself since it was last looked at: how long it took from each assignment to
    /// its first commit, and how much memory it holds.
    pub fn measure(&self, trial: &mut Trial, ops: &mut Ops) {
        for line in ops.news().lines().filter(|line| line.contains(FIRST_COMMIT)) {
            let took = line.split("took_ms=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            let took = took.unwrap_or_else(|| panic!("no time in {line:?}"));
            trial.figures.time(RECOVERY, Duration::from_millis(took));
        }
        trial.figures.limits.insert(RECOVERY, RECOVERY_LIMIT);
        trial.figures.peak("resident MiB of a processor", ops.resident() >> 20);
    }

    /// Judges what was consumed since the last time.
    pub fn advance(&mut self, trial: &mut Trial) -> Result<(), String> {
        let began = Instant::now();
        let judged = self.judge.advance(&self.fleet)?;
        trial.figures.time("judging a round", began.elapsed());
        for (partition, offset) in self.places.drain(..) {
            let inside = !is_committed(&self.fleet, partition, offset);
            trial.figures.count("deaths with an event in the open transaction", inside.into());
        }
        take(trial, &judged);
        Ok(())
    }

    /// The end: the load has stopped, the processors run. Waits for quiet (INV-6), stops them in order, judges what is
    /// left, and has the log audited. Says for which reasons readings were refused.
    pub fn finish(
        self,
        trial: &mut Trial,
        processes: impl IntoIterator<Item = Ops>,
    ) -> Result<BTreeSet<&'static str>, String> {
        self.fleet.wait_until_caught_up();
        // What was forwarded last is a record too.
        self.fleet.wait_until_caught_up();
        processes.into_iter().for_each(Ops::stop);
        let judged = self.judge.finish(&self.fleet)?;
        take(trial, &judged);
        let equal = audit(&self.fleet)?;
        trial.figures.count("events equal by ops replay --verify", equal as u64);
        Ok(judged.counts.rejected.into_keys().collect())
    }
}

/// Is a transactional id (group, instance, worker) one of the process of this name?
pub fn is_of(writer: &Option<String>, name: &str) -> bool {
    let instance = writer.as_deref().and_then(|writer| writer.rsplit_once('-'));
    instance.is_some_and(|(instance, _)| instance.ends_with(&format!("-{name}")))
}

/// Waits for what nothing tells of, while the process lives.
pub fn wait(ops: &mut Ops, what: &str, done: impl Fn(&Ops) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(ops) {
        assert!(ops.is_alive() && Instant::now() < deadline, "still waiting for {what}\n{}", ops.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn take(trial: &mut Trial, judged: &Judged) {
    let counts = &mut trial.figures.counts;
    let mut add = |what, more| *counts.entry(what).or_default() += more;
    add("events confirmed", judged.events.len() as u64);
    add("dead letters confirmed", judged.rejected.len() as u64);
    counts.insert("records judged", judged.counts.consumed);
    counts.insert("records judged: late", judged.counts.late);
    counts.insert("records judged: forwarded", judged.forwarded);
    counts.insert("records judged: ticks", judged.counts.ticks);
}
