//! What an actor counts: what became of its actions, what waits, possible repeats, records that could not be read. Shared
//! between its loop and its effects; counted here once, and read by tests, by the demo and by whoever scrapes `/metrics`
//! ([`crate::telemetry::http`]).
//!
//! Labels are bounded: verbs of the actor, names of events, reason codes, topics. What alerts hang on is there from the
//! beginning, so that the first of a kind is a rise.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::bus::Verdict;
use crate::model::action::{ActionEvent, ActionKind};
use crate::telemetry::clock::now_ms;
use crate::telemetry::http::{Source, text_of};
use crate::telemetry::parts::number;

/// Upper ends of the times from request to outcome, s: a page takes a second, a call that is tried again minutes, and what
/// waits for a channel that is down longer.
const ANSWER_SECONDS: [f64; 12] = [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// The names of the events that say what became of an action.
const OUTCOMES: [&str; 10] =
    ["awaiting", "denied", "expired", "started", "done", "failed", "unknown", "suppressed", "verified", "ineffective"];
/// The verdicts of errors after which there is another session.
const VERDICTS: [Verdict; 3] = [Verdict::Retry, Verdict::AbortAndRewind, Verdict::Recreate];
/// Nothing waits.
const NONE: i64 = i64::MAX;

type Labels<const N: usize> = [(&'static str, String); N];

/// See the module.
#[derive(Debug)]
pub struct Counters {
    registry: Registry,
    actions: Family<Labels<2>, Counter>,
    suppressed: Family<Labels<1>, Counter>,
    repeats: Family<Labels<1>, Counter>,
    undecodable: Family<Labels<1>, Counter>,
    sessions: Family<Labels<1>, Counter>,
    answer_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    partitions: Gauge,
    waiting: Gauge,
    awaiting: Gauge,
    oldest_seconds: Gauge<f64, AtomicU64>,
    /// Since when the oldest waits, ms; [`NONE`].
    oldest_ms: AtomicI64,
    /// All partitions that it was given are taken over.
    whole: AtomicBool,
}

/// Of nobody; for tests of what counts.
impl Default for Counters {
    fn default() -> Self {
        Self::new("nobody", &[])
    }
}

impl Counters {
    /// Those of one actor, which carries out `verbs`.
    pub fn new(actor: &'static str, verbs: &[&'static str]) -> Self {
        let label = (Cow::Borrowed("actor"), Cow::Borrowed(actor));
        let counters = Self {
            registry: Registry::with_prefix_and_labels("ops_actor", [label].into_iter()),
            actions: Family::default(),
            suppressed: Family::default(),
            repeats: Family::default(),
            undecodable: Family::default(),
            sessions: Family::default(),
            answer_seconds: Family::new_with_constructor(|| Histogram::new(ANSWER_SECONDS)),
            partitions: Gauge::default(),
            waiting: Gauge::default(),
            awaiting: Gauge::default(),
            oldest_seconds: Gauge::default(),
            oldest_ms: AtomicI64::new(NONE),
            whole: AtomicBool::new(false),
        };
        for verb in verbs {
            OUTCOMES.iter().for_each(|outcome| drop(counters.actions.get_or_create(&act(verb, outcome))));
            drop(counters.repeats.get_or_create(&one("verb", verb)));
            drop(counters.answer_seconds.get_or_create(&one("verb", verb)));
        }
        VERDICTS
            .iter()
            .for_each(|verdict| drop(counters.sessions.get_or_create(&one("verdict", &format!("{verdict:?}")))));
        // Of every actor; the other codes come with their first.
        drop(counters.suppressed.get_or_create(&one("reason", "over")));
        counters.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let actions = "Events on ops.actions by verb and what became of the action; started is the intent";
        registry.register("actions", actions, self.actions.clone());
        registry.register(
            "suppressed",
            "Actions that were held back, by the code of the reason",
            self.suppressed.clone(),
        );
        registry.register("repeats", "Effects that may have happened twice, by verb", self.repeats.clone());
        registry.register("undecodable", "Records that could not be read and were left out", self.undecodable.clone());
        registry.register("sessions", "New sessions with the bus after an error, by verdict", self.sessions.clone());
        let answer = "From the instant of the request until its outcome is written, s, by this host's clock";
        registry.register("answer_seconds", answer, self.answer_seconds.clone());
        registry.register("partitions_owned", "Partitions of ops.incidents that it holds", self.partitions.clone());
        registry.register(
            "waiting",
            "Requests without an outcome, but those that wait for a human",
            self.waiting.clone(),
        );
        registry.register("awaiting", "Requests that wait for a human's word", self.awaiting.clone());
        let oldest = "Age of the oldest request without an outcome, s; 0 if there is none";
        registry.register("oldest_waiting_seconds", oldest, self.oldest_seconds.clone());
        self
    }

    /// Which topics it reads.
    pub fn reads(&self, topics: [&str; 2]) {
        topics.iter().for_each(|topic| drop(self.undecodable.get_or_create(&one("topic", topic))));
    }

    /// An event is committed to `ops.actions`.
    pub fn committed(&self, event: &ActionEvent) {
        self.actions.get_or_create(&act(&event.verb, event.kind.name())).inc();
        if let ActionKind::Suppressed { reason, .. } = &event.kind {
            self.suppressed.get_or_create(&one("reason", reason)).inc();
        }
    }

    /// A request that was to be carried out from `asked_ms` on has its outcome, written at `at_ms`.
    pub fn answered(&self, verb: &str, asked_ms: i64, at_ms: i64) {
        let took = at_ms.saturating_sub(asked_ms).max(0) as f64 / 1000.0;
        self.answer_seconds.get_or_create(&one("verb", verb)).observe(took);
    }

    /// An effect may have happened twice.
    pub fn repeated(&self, verb: &str) {
        self.repeats.get_or_create(&one("verb", verb)).inc();
    }

    /// A record of a topic could not be read.
    pub fn undecodable(&self, topic: &str) {
        self.undecodable.get_or_create(&one("topic", topic)).inc();
    }

    /// A new session with the bus, after an error of this verdict. It holds nothing yet.
    pub fn session(&self, verdict: Verdict) {
        self.sessions.get_or_create(&one("verdict", &format!("{verdict:?}"))).inc();
        self.hold(0, false);
    }

    /// How many partitions it holds, and whether that is all that it was given. Sets `/readyz`.
    pub fn hold(&self, partitions: usize, whole: bool) {
        self.partitions.set(number(partitions));
        self.whole.store(whole, Ordering::Relaxed);
    }

    /// So many requests wait for a human's word.
    pub fn awaiting(&self, count: usize) {
        self.awaiting.set(number(count));
    }

    /// Since when each request waits that has no outcome, ms.
    pub fn waiting(&self, since_ms: impl Iterator<Item = i64>) {
        let (count, oldest) = since_ms.fold((0, NONE), |(count, oldest), since| (count + 1, oldest.min(since)));
        self.waiting.set(number(count));
        self.oldest_ms.store(oldest, Ordering::Relaxed);
    }

    /// How many so far of a kind: the name of an event of `ops.actions` (by verb), `repeat` (by verb), `undecodable` (by
    /// topic), `session` (by verdict).
    pub fn get(&self, kind: &'static str, label: &str) -> u64 {
        let of = |family: &Family<Labels<1>, Counter>, name| family.get(&one(name, label)).map(|counter| counter.get());
        let found = match kind {
            "repeat" => of(&self.repeats, "verb"),
            "undecodable" => of(&self.undecodable, "topic"),
            "session" => of(&self.sessions, "verdict"),
            outcome => self.actions.get(&act(label, outcome)).map(|counter| counter.get()),
        };
        found.unwrap_or(0)
    }
}

fn one(name: &'static str, value: &str) -> Labels<1> {
    [(name, value.to_owned())]
}

fn act(verb: &str, outcome: &str) -> Labels<2> {
    [("verb", verb.to_owned()), ("outcome", outcome.to_owned())]
}

impl Source for Counters {
    /// The age is as of now, also if the actor's loop hangs.
    fn text(&self) -> String {
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        let age_ms = if oldest_ms == NONE { 0 } else { now_ms().saturating_sub(oldest_ms).max(0) };
        self.oldest_seconds.set(age_ms as f64 / 1000.0);
        text_of(&self.registry)
    }

    fn is_ready(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alerts_hang_on_is_there_before_it_happens() {
        let counters = Counters::new("pager", &["page"]);
        let unknown = "ops_actor_actions_total{actor=\"pager\",verb=\"page\",outcome=\"unknown\"} 0";
        assert!(counters.text().contains(unknown), "{}", counters.text());
    }

    #[test]
    fn the_oldest_request_grows_older_by_itself_and_goes_with_its_outcome() {
        let counters = Counters::new("pager", &["page"]);
        let age = || {
            let text = counters.text();
            let line = text.lines().find(|line| line.starts_with("ops_actor_oldest_waiting_seconds{")).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        counters.waiting([now_ms() - 5_000, now_ms() - 90_000].into_iter());
        assert!(age() >= 90.0 && counters.text().contains("ops_actor_waiting{actor=\"pager\"} 2"), "{}", age());
        counters.waiting(std::iter::empty());
        assert_eq!(age(), 0.0);
    }
}
