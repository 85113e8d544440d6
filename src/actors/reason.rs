//! Why a request is not carried out: the reason codes on `ops.actions`, in metrics, and in words for people.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::guard::Freeze;
use super::intent::Goal;
use super::scaling::{BadRequest, Bounds};

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The arguments make no sense.
    BadRequest(BadRequest),
    /// The request is too old.
    Stale {
        /// How old, ms.
        age_ms: i64,
    },
    /// Its incident is over.
    Over,
    /// A human stopped all actions.
    Frozen(Freeze),
    /// It was requested because too few fresh readings came: no ground to scale on.
    Insufficient,
    /// The service's target is silent.
    NoData,
    /// The verb acted on the service a short while ago.
    CoolDown {
        /// When it may again, ms.
        until_ms: i64,
    },
    /// The incident has used up its actions.
    BudgetIncident {
        /// How many there were.
        used: u32,
    },
    /// The service has used up its actions of an hour.
    BudgetService {
        /// How many there were.
        used: u32,
    },
    /// A HorizontalPodAutoscaler owns the replicas.
    ManagedByHpa(String),
    /// KEDA owns the replicas.
    ManagedByKeda(String),
    /// There are as few replicas as may be.
    AtMin(Bounds),
    /// There are as many replicas as may be.
    AtMax(Bounds),
    /// `scale_up` would lower.
    NeverLowers,
    /// `scale_down` would raise.
    NeverRaises,
    /// The replicas are what was asked for.
    AtGoal,
    /// The spec allows no step (`max_step: 0`).
    NoStep,
    /// This is what would have been done.
    DryRun(Goal),
}

impl Reason {
    /// The reason code on `ops.actions` and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Stale { .. } => "stale",
            Self::Over => "over",
            Self::Frozen(_) => "frozen",
            Self::Insufficient => "insufficient",
            Self::NoData => "no_data",
            Self::CoolDown { .. } => "cool_down",
            Self::BudgetIncident { .. } => "budget_incident",
            Self::BudgetService { .. } => "budget_service",
            Self::ManagedByHpa(_) => "managed_by_hpa",
            Self::ManagedByKeda(_) => "managed_by_keda",
            Self::AtMin(_) => "at_min",
            Self::AtMax(_) => "at_max",
            Self::NeverLowers => "never_lowers",
            Self::NeverRaises => "never_raises",
            Self::AtGoal => "at_goal",
            Self::NoStep => "no_step",
            Self::DryRun(_) => "dry_run",
        }
    }
}

impl Reason {
    /// Does the guard hand it to a human instead of holding it back?
    pub fn is_for_a_human(&self) -> bool {
        matches!(self, Self::BudgetIncident { .. } | Self::BudgetService { .. })
    }

    /// What the guard saw, for `ops.actions`: in words, and of a dry run the goal.
    pub fn detail(&self) -> BTreeMap<String, String> {
        let mut detail = match self {
            Self::DryRun(goal) => goal.to_map(),
            _ => BTreeMap::new(),
        };
        detail.insert("why".to_owned(), self.to_string());
        detail
    }
}

/// As people read it.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.0}"))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(bad) => bad.fmt(f),
            Self::Stale { age_ms } => write!(f, "the request is {} s old", age_ms / 1000),
            Self::Over => f.write_str("its incident is over"),
            Self::Frozen(freeze) => freeze.fmt(f),
            Self::Insufficient => f.write_str("too few fresh readings to scale on"),
            Self::NoData => f.write_str("the service sends no data to scale on"),
            Self::CoolDown { until_ms } => write!(f, "the verb rests until {}", time(*until_ms)),
            Self::BudgetIncident { used } => write!(f, "the incident has had its {used} actions"),
            Self::BudgetService { used } => write!(f, "the service has had its {used} actions of an hour"),
            Self::ManagedByHpa(name) => write!(f, "horizontalpodautoscaler/{name} decides the replicas"),
            Self::ManagedByKeda(name) => write!(f, "scaledobject/{name} decides the replicas"),
            Self::AtMin(bounds) => write!(f, "not below {} replicas", bounds.min),
            Self::AtMax(bounds) => write!(f, "not above {} replicas", bounds.max),
            Self::NeverLowers => f.write_str("scale_up never lowers"),
            Self::NeverRaises => f.write_str("scale_down never raises"),
            Self::AtGoal => f.write_str("the replicas are what was asked for"),
            Self::NoStep => f.write_str("max_step allows no change"),
            Self::DryRun(goal) => write!(f, "dry run, else {goal}"),
        }
    }
}
