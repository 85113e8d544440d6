//! The intent of a scaling: an absolute goal, fenced by the object's identity and version, written down before
//! anything is done; and the rule that says, after a crash, what is left to do of one. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::scaling::Bound;
use crate::world::scale::ScaleState;

/// The absolute goal that is written down before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Replicas that were asked for when it was decided.
    pub from: u32,
    /// Replicas to ask for.
    pub to: u32,
    /// Of this object.
    pub uid: String,
    /// At this generation of its spec.
    pub generation: i64,
    /// At this version of it.
    pub resource_version: String,
    /// What was asked for and which bound made less of it, if one did.
    pub clamped: Option<(i64, Bound)>,
}

impl Goal {
    /// As it stands on `ops.actions`.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::from([
            ("from".to_owned(), self.from.to_string()),
            ("to".to_owned(), self.to.to_string()),
            ("uid".to_owned(), self.uid.clone()),
            ("generation".to_owned(), self.generation.to_string()),
            ("resource_version".to_owned(), self.resource_version.clone()),
        ]);
        if let Some((asked, bound)) = self.clamped {
            map.insert("asked".to_owned(), asked.to_string());
            map.insert("bound".to_owned(), bound.name().to_owned());
        }
        map
    }

    /// Reads it back; `None` if that is no goal. What was asked for is left out: it decides nothing any more.
    pub fn from_map(map: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            from: map.get("from")?.parse().ok()?,
            to: map.get("to")?.parse().ok()?,
            uid: map.get("uid")?.clone(),
            generation: map.get("generation")?.parse().ok()?,
            resource_version: map.get("resource_version")?.clone(),
            clamped: None,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, uid, generation, resource_version, clamped } = self;
        write!(f, "replicas {from} -> {to} of uid {uid}, generation {generation}, version {resource_version}")?;
        match clamped {
            Some((asked, bound)) => write!(f, " ({asked} asked for, {} says {to})", bound.name()),
            None => Ok(()),
        }
    }
}

/// What is left to do of an intent that has no outcome, given the world as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The goal is reached: `done`.
    AlreadyDone,
    /// The object is untouched: the same request again, at the version that it has now.
    ActAgain(Goal),
    /// Nobody can say what became of it: `unknown`, and a human is told.
    Unknown(Lost),
}

/// Why an intent's fate cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The object is gone.
    Gone,
    /// Another object has its name.
    OtherObject,
    /// Somebody else changed it since, to so many replicas.
    Touched {
        /// Replicas that are asked for now.
        replicas: u32,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the workload is gone"),
            Self::OtherObject => f.write_str("the workload was deleted and made again"),
            Self::Touched { replicas } => write!(f, "somebody changed the workload, it asks for {replicas} replicas"),
        }
    }
}

/// The rule after a crash with an intent and no outcome, and after a write that was refused because of its version
/// (a status update moves the version too: that is no rival). `world` is `None` if the workload is not there.
pub fn resume(intent: &Goal, world: Option<&ScaleState>) -> Resume {
    let Some(world) = world else { return Resume::Unknown(Lost::Gone) };
    if world.uid != intent.uid {
        return Resume::Unknown(Lost::OtherObject);
    }
    if world.replicas == intent.to {
        return Resume::AlreadyDone;
    }
    if world.generation == intent.generation && world.replicas == intent.from {
        return Resume::ActAgain(Goal { resource_version: world.resource_version.clone(), ..intent.clone() });
    }
    Resume::Unknown(Lost::Touched { replicas: world.replicas })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Goal {
        Goal { from: 4, to: 6, uid: "u".into(), generation: 7, resource_version: "100".into(), clamped: None }
    }

    fn world(uid: &str, generation: i64, replicas: u32) -> ScaleState {
        ScaleState {
            uid: uid.into(),
            generation,
            resource_version: "105".into(),
            replicas,
            ready: None,
            managed_by: None,
        }
    }

    #[test]
    fn an_intent_without_outcome_is_settled_by_what_the_world_looks_like() {
        let again = Goal { resource_version: "105".into(), ..intent() };
        for (world, expected) in [
            (Some(world("u", 8, 6)), Resume::AlreadyDone),
            // Somebody else changed more since, and the goal stands.
            (Some(world("u", 11, 6)), Resume::AlreadyDone),
            (Some(world("u", 7, 4)), Resume::ActAgain(again)),
            (Some(world("u", 8, 4)), Resume::Unknown(Lost::Touched { replicas: 4 })),
            (Some(world("u", 9, 5)), Resume::Unknown(Lost::Touched { replicas: 5 })),
            // A kind whose generation does not count: the replicas tell.
            (Some(world("u", 7, 9)), Resume::Unknown(Lost::Touched { replicas: 9 })),
            // The goal reached by another object is not our doing.
            (Some(world("v", 1, 6)), Resume::Unknown(Lost::OtherObject)),
            (Some(world("v", 7, 4)), Resume::Unknown(Lost::OtherObject)),
            (None, Resume::Unknown(Lost::Gone)),
        ] {
            assert_eq!(resume(&intent(), world.as_ref()), expected, "{world:?}");
        }
    }

    #[test]
    fn a_goal_comes_back_from_the_bus_without_what_was_asked_for() {
        let clamped = Goal { clamped: Some((13, Bound::MaxStep)), ..intent() };
        assert_eq!(clamped.to_map()["bound"], "max_step");
        assert_eq!(Goal::from_map(&clamped.to_map()), Some(intent()));
        for missing in ["from", "to", "uid", "generation", "resource_version"] {
            let mut map = intent().to_map();
            map.remove(missing);
            assert_eq!(Goal::from_map(&map), None, "{missing}");
        }
    }

    #[test]
    fn a_goal_says_what_a_bound_made_of_it() {
        let clamped = Goal { clamped: Some((13, Bound::MaxStep)), ..intent() };
        assert_eq!(
            clamped.to_string(),
            "replicas 4 -> 6 of uid u, generation 7, version 100 (13 asked for, max_step says 6)"
        );
    }
}
