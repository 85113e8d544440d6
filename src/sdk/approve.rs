//! A human's word on what a guard has handed over: for or against. It stands on `ops.actions`, where the actor that asked
//! reads it; what comes of it is the actor's to say. Called by `ops approve`, `ops deny` and the war room.
//!
//! A word is bound to what was shown (the proposal's hash). The first one in the log counts, so whoever writes one reads it
//! back: [`Said`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::actions::{Deed, Deeds};
use super::freeze::append;
use super::{Error, left};
use crate::bus::{Offsets, Settings};
use crate::model::action::{ActionEvent, Proposal};
use crate::model::topics::Topics;
use crate::model::{ActionId, IncidentId, ServiceId};
use crate::telemetry::clock::now_ms;

/// How long a word may take to be read back.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// What waits for a human's word. Its JSON is that of the war room.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Pending {
    /// What it is about.
    pub action_id: ActionId,
    /// Whose.
    pub service: ServiceId,
    /// For which incident.
    pub incident: IncidentId,
    /// What was asked for.
    pub verb: String,
    /// What would be acted on.
    pub target: String,
    /// Whose service, if its request says.
    pub owner: Option<String>,
    /// When it was handed over, ms.
    pub asked_at: i64,
    /// Until when a word counts, ms.
    pub expires_at: i64,
    /// The code of the guard.
    pub reason: String,
    /// The same in words.
    pub why: String,
    /// What the word has to name.
    pub hash: String,
    /// The absolute goal.
    pub goal: BTreeMap<String, String>,
    /// What will be done, in one sentence.
    pub what: String,
    /// What it touches, in one sentence.
    pub blast_radius: String,
}

/// Why no word is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody asked, or there is an answer of the actor's already.
    #[error("it does not wait for a human: it is {state}")]
    NotWaiting {
        /// How far it is.
        state: &'static str,
    },
    /// Somebody was faster.
    #[error("{who} has {said} it already")]
    Answered {
        /// Who.
        who: String,
        /// `approved` or `rejected`.
        said: &'static str,
    },
    /// Too late.
    #[error("its time was over at {until}")]
    Expired {
        /// Since when.
        until: String,
    },
    /// What was shown is something else.
    #[error("the hash is not that of what waits: look again at what would be done")]
    OtherHash,
}

/// The proposal that a word would be about, if one can be said now; `hash` if what was shown is known by it.
///
/// # Errors
/// Why not.
pub fn open<'a>(deed: &'a Deed, hash: Option<&str>, now_ms: i64) -> Result<(&'a ActionEvent, &'a Proposal), Refused> {
    if let (Some(word), "awaiting" | "approved" | "rejected") = (deed.word(), deed.state) {
        return Err(Refused::Answered { who: word.actor.clone(), said: word.kind.name() });
    }
    let asked = deed.asked().filter(|_| deed.is_awaiting());
    let Some((asked, proposal)) = asked.and_then(|asked| Some((asked, asked.proposal()?))) else {
        return Err(Refused::NotWaiting { state: deed.state });
    };
    if now_ms > proposal.expires_at {
        let until = Timestamp::from_millisecond(proposal.expires_at);
        return Err(Refused::Expired { until: until.map_or_else(|_| String::new(), |until| format!("{until:.0}")) });
    }
    match hash {
        Some(hash) if hash != proposal.hash => Err(Refused::OtherHash),
        _ => Ok((asked, proposal)),
    }
}

/// What waits, for people; `None` if no word can be said on it now.
pub fn pending(deed: &Deed, now_ms: i64) -> Option<Pending> {
    let (asked, proposal) = open(deed, None, now_ms).ok()?;
    let target = asked.target.clone().unwrap_or_default();
    let owner = || deed.request.as_ref()?.args.get("service.owner").cloned();
    let Proposal { reason, why, goal, hash, expires_at } = proposal.clone();
    let (what, blast_radius) = told(&asked.verb, &target, &goal);
    Some(Pending {
        action_id: asked.action_id,
        service: asked.service.clone(),
        incident: asked.incident.clone(),
        verb: asked.verb.clone(),
        owner: owner(),
        asked_at: asked.at,
        target,
        expires_at,
        reason,
        why,
        hash,
        goal,
        what,
        blast_radius,
    })
}

/// All of it, the most urgent first.
pub fn all_pending(deeds: &Deeds, now_ms: i64) -> Vec<Pending> {
    let mut all: Vec<_> = deeds.all().into_iter().filter_map(|deed| pending(deed, now_ms)).collect();
    all.sort_by_key(|pending| (pending.expires_at, pending.action_id));
    all
}

/// What will be done, and what it touches.
fn told(verb: &str, target: &str, goal: &BTreeMap<String, String>) -> (String, String) {
    let number = |name: &str| goal.get(name)?.parse::<u32>().ok();
    let Some((from, to)) = number("from").zip(number("to")) else {
        let goal = goal.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
        return (format!("{verb} {target}: {goal}"), target.to_owned());
    };
    let clamped = match (goal.get("asked"), goal.get("bound")) {
        (Some(asked), Some(bound)) => format!(" ({asked} were asked for, {bound} allows no other)"),
        _ => String::new(),
    };
    let what = format!("{verb}: set {target} from {from} to {to} replicas{clamped}, if nobody has changed it by then");
    let share = |part: u32| f64::from(part) * 100.0 / f64::from(from.max(1));
    let change = match to.checked_sub(from) {
        Some(more) => format!("{more} more beside {from} ({:+.0} %)", share(more)),
        None => format!("{} of {from} are taken away ({:.0} %)", from - to, -share(from - to)),
    };
    (what, format!("one workload, {target}: {change}; nothing else is touched"))
}

/// Writes a word on what `asked` proposes, in the name of `who`.
///
/// # Errors
/// The bus; what is not acknowledged may or may not be there.
pub fn say(
    settings: &Settings,
    topics: &Topics,
    (asked, proposal): (&ActionEvent, &Proposal),
    is_yes: bool,
    who: &str,
    reason: &str,
) -> Result<ActionEvent, Error> {
    let word = ActionEvent::word(asked, proposal, is_yes, who, reason, now_ms());
    let home = word.service.home(Offsets::new(settings)?.partitions(&topics.actions)?);
    append(settings, topics, &word, home..home + 1)?;
    Ok(word)
}

/// What became of a word that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It counts.
    Counts,
    /// Somebody's was there before, or it came too late.
    Too(Refused),
    /// It was not read back yet.
    Unseen,
}

/// What became of `word`, by what was read.
pub fn said(deed: Option<&Deed>, word: &ActionEvent) -> Said {
    let Some(deed) = deed.filter(|deed| deed.events.contains(word)) else { return Said::Unseen };
    match deed.word() {
        Some(first) if first == word => Said::Counts,
        Some(first) => Said::Too(Refused::Answered { who: first.actor.clone(), said: first.kind.name() }),
        None => Said::Too(Refused::NotWaiting { state: deed.state }),
    }
}

/// Waits until `word` was read back.
///
/// # Errors
/// The bus.
pub fn read_back(deeds: &mut Deeds, word: &ActionEvent) -> Result<Said, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match said(deeds.get(&word.action_id), word) {
            Said::Unseen if !left(deadline).is_zero() => drop(deeds.wait(LOOK, |_| {})?),
            said => return Ok(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::ActionKind;

    const UNTIL: i64 = 1_000;

    fn asked() -> ActionEvent {
        let incident: IncidentId = "scanner.1".parse().unwrap();
        let action_id = ActionId::of(&incident, 1, 1);
        let goal = [("from", "4"), ("to", "6"), ("uid", "u")];
        let goal: BTreeMap<_, _> = goal.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let hash = Proposal::hash_of(&action_id, "scale_up", "deployment scanner", &goal);
        let (reason, why) = ("budget_incident".to_owned(), "it has had its 3 actions".to_owned());
        ActionEvent::scaling(ActionKind::Awaiting(Proposal { reason, why, goal, hash, expires_at: UNTIL }), 7)
    }

    fn word(is_yes: bool, who: &str, at: i64) -> ActionEvent {
        let asked = asked();
        ActionEvent::word(&asked, asked.proposal().unwrap(), is_yes, who, "as agreed", at)
    }

    #[test]
    fn what_waits_says_what_will_be_done_and_what_it_touches() {
        let pending = pending(&Deed::of(vec![asked()]), UNTIL).unwrap();
        assert!(pending.what.contains("set deployment scanner from 4 to 6 replicas"), "{}", pending.what);
        assert!(pending.blast_radius.contains("2 more beside 4 (+50 %)"), "{}", pending.blast_radius);
        assert_eq!((pending.asked_at, pending.expires_at, pending.reason.as_str()), (7, UNTIL, "budget_incident"));
        let down = [("from", "6"), ("to", "3")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert!(told("scale_down", "deployment s", &down).1.contains("3 of 6 are taken away (-50 %)"));
    }

    #[test]
    fn a_word_is_taken_once_in_time_and_for_what_was_shown() {
        let hash = asked().proposal().unwrap().hash.clone();
        let refused = |events: Vec<ActionEvent>, hash: &str, now| open(&Deed::of(events), Some(hash), now).err();
        assert_eq!(refused(vec![asked()], &hash, UNTIL), None);
        assert_eq!(refused(vec![asked()], "x", UNTIL), Some(Refused::OtherHash));
        assert!(matches!(refused(vec![asked()], &hash, UNTIL + 1), Some(Refused::Expired { .. })));
        let answered = Refused::Answered { who: "alice".to_owned(), said: "approved" };
        assert_eq!(refused(vec![asked(), word(true, "alice", 8)], &hash, 9), Some(answered));
        let over = ActionEvent { kind: ActionKind::suppressed("over"), ..asked() };
        assert_eq!(refused(vec![asked(), over], &hash, 9), Some(Refused::NotWaiting { state: "suppressed" }));
    }

    #[test]
    fn of_two_words_the_first_in_the_log_counts() {
        let deed = Deed::of(vec![asked(), word(true, "alice", 8), word(false, "bob", 8)]);
        assert_eq!((deed.state, deed.word()), ("approved", Some(&word(true, "alice", 8))));
        assert_eq!(said(Some(&deed), &word(true, "alice", 8)), Said::Counts);
        let faster = Refused::Answered { who: "alice".to_owned(), said: "approved" };
        assert_eq!(said(Some(&deed), &word(false, "bob", 8)), Said::Too(faster));
        assert_eq!(said(Some(&deed), &word(true, "carol", 8)), Said::Unseen);
        let late = Deed::of(vec![asked(), word(true, "alice", UNTIL + 1)]);
        assert_eq!(
            said(Some(&late), &word(true, "alice", UNTIL + 1)),
            Said::Too(Refused::NotWaiting { state: "awaiting" })
        );
    }
}
