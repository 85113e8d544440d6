//! The arithmetic of scaling: a request's arguments -> what is asked for -> an absolute number of replicas within
//! its bounds. Pure, without a clock; whether it may be done at all is the guard's question.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::model::spec::{Limits, Workload};

/// Fewest replicas, unless the spec says otherwise.
const MIN: u32 = 1;
/// Most replicas, unless the spec says otherwise or twice the replicas seen are more.
const MAX: u32 = 10;
/// Most replicas by which one action changes, unless the spec says otherwise.
const MAX_STEP: u32 = 4;

/// Which way a verb may change the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `scale_up`: never lowers.
    ScaleUp,
    /// `scale_down`: never raises.
    ScaleDown,
    /// `scale`: either way.
    Scale,
}

impl Verb {
    /// The verb of that name, if it is one of scaling.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "scale_up" => Some(Self::ScaleUp),
            "scale_down" => Some(Self::ScaleDown),
            "scale" => Some(Self::Scale),
            _ => None,
        }
    }
}

/// How many replicas are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// `+2`, `-1`: relative to what is there.
    By(i64),
    /// `4`: so many.
    To(u32),
}

impl FromStr for Compute {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |digits: &str| -> Result<u32, ()> {
            // `parse` would take a second sign.
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            if plain { digits.parse().map_err(|_| ()) } else { Err(()) }
        };
        match text.as_bytes().first() {
            Some(b'+') => Ok(Self::By(i64::from(number(&text[1..])?))),
            Some(b'-') => Ok(Self::By(-i64::from(number(&text[1..])?))),
            _ => Ok(Self::To(number(text)?)),
        }
    }
}

/// A request to scale, read from its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleCall {
    /// Which way.
    pub verb: Verb,
    /// How many.
    pub compute: Compute,
    /// Of what.
    pub workload: Workload,
    /// What the spec says about bounds.
    pub limits: Limits,
    /// W of the service, ms: the default cool-down.
    pub window_ms: i64,
}

/// What is wrong with a request's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// The argument.
    pub argument: String,
    /// Its value; `None` if it is missing.
    pub value: Option<String>,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?} makes no sense here", self.argument),
            None => write!(f, "{} is missing", self.argument),
        }
    }
}

impl ScaleCall {
    /// Reads the arguments of a `requested` event.
    pub fn parse(verb: &str, args: &BTreeMap<String, String>) -> Result<Self, BadRequest> {
        let bad = |argument: &str, value: &str| BadRequest { argument: argument.into(), value: Some(value.into()) };
        let needed = |argument: &str| {
            let missing = || BadRequest { argument: argument.to_owned(), value: None };
            args.get(argument).map(String::as_str).ok_or_else(missing)
        };
        let bound = |argument: &str| -> Result<Option<u32>, BadRequest> {
            let value = args.get(argument).map(String::as_str);
            value.map(|text| text.parse().map_err(|_| bad(argument, text))).transpose()
        };
        let limits =
            Limits { min: bound("limits.min")?, max: bound("limits.max")?, max_step: bound("limits.max_step")? };
        if let (Some(min), Some(max)) = (limits.min, limits.max)
            && min > max
        {
            return Err(bad("limits.min", &min.to_string()));
        }
        let compute = needed("compute")?;
        let window = needed("window_seconds")?;
        let seconds: f64 = window.parse().map_err(|_| bad("window_seconds", window))?;
        // A year is far beyond what a spec may say, and far below what an i64 holds.
        if !(0.0..=31_536_000.0).contains(&seconds) {
            return Err(bad("window_seconds", window));
        }
        Ok(Self {
            verb: Verb::of(verb).ok_or_else(|| bad("verb", verb))?,
            compute: compute.parse().map_err(|()| bad("compute", compute))?,
            workload: Workload {
                kind: needed("workload.kind")?.to_owned(),
                name: needed("workload.name")?.to_owned(),
                namespace: args.get("workload.namespace").cloned(),
                context: args.get("workload.context").cloned(),
            },
            limits,
            window_ms: (seconds * 1000.0).round() as i64,
        })
    }
}

/// The bounds that hold for one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Most replicas by which it may change.
    pub max_step: u32,
}

impl Bounds {
    /// What the spec says, else the defaults; `seen` are the replicas that the default maximum goes by.
    pub fn of(limits: &Limits, seen: u32) -> Self {
        let min = limits.min.unwrap_or(MIN);
        // A default never contradicts what the spec says about the other end.
        let max = limits.max.unwrap_or_else(|| MAX.max(seen.saturating_mul(2)).max(min));
        Self { min: min.min(max), max, max_step: limits.max_step.unwrap_or(MAX_STEP) }
    }
}

/// Which bound made the goal another one than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The fewest replicas.
    Min,
    /// The most replicas.
    Max,
    /// The most replicas by which one action may change.
    MaxStep,
}

impl Bound {
    /// Its name in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::MaxStep => "max_step",
        }
    }
}

/// The number of replicas to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// The goal.
    pub to: u32,
    /// What was asked for, before bounds.
    pub asked: i64,
    /// The bound that decided last, if one did.
    pub bound: Option<Bound>,
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The replicas are what was asked for.
    AtGoal,
    /// The lower bound, or beyond it.
    AtMin,
    /// The upper bound, or beyond it.
    AtMax,
    /// The verb raises, and fewer were asked for.
    NeverLowers,
    /// The verb lowers, and more were asked for.
    NeverRaises,
    /// No step is allowed (`max_step: 0`).
    NoStep,
}

/// From the replicas that are asked for now to the goal: the limits first, then the step, so that one action never
/// changes more than `max_step`, even from outside the limits.
pub fn goal(verb: Verb, compute: Compute, now: u32, bounds: Bounds) -> Result<Replicas, Nothing> {
    let current = i64::from(now);
    let asked = match compute {
        Compute::By(change) => current + change,
        Compute::To(replicas) => i64::from(replicas),
    };
    match verb {
        _ if asked == current => return Err(Nothing::AtGoal),
        Verb::ScaleUp if asked < current => return Err(Nothing::NeverLowers),
        Verb::ScaleDown if asked > current => return Err(Nothing::NeverRaises),
        _ => {}
    }
    let (min, max) = (i64::from(bounds.min), i64::from(bounds.max));
    let limited = asked.clamp(min, max);
    let mut bound = match limited {
        _ if limited < asked => Some(Bound::Max),
        _ if limited > asked => Some(Bound::Min),
        _ => None,
    };
    // The limits may have turned the change round (below min, above max): what was to raise never lowers, whatever
    // its verb, nor the other way.
    if (limited - current).signum() != (asked - current).signum() {
        return Err(if asked > current { Nothing::AtMax } else { Nothing::AtMin });
    }
    let step = i64::from(bounds.max_step);
    let to = limited.clamp(current - step, current + step);
    if to != limited {
        bound = Some(Bound::MaxStep);
    }
    match u32::try_from(to) {
        Ok(to) if to != now => Ok(Replicas { to, asked, bound }),
        _ => Err(Nothing::NoStep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let usual = [
            ("compute", "+2"),
            ("workload.kind", "deployment"),
            ("workload.name", "scanner"),
            ("window_seconds", "300"),
        ];
        usual.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_request_is_read_from_its_arguments() {
        let call = ScaleCall::parse(
            "scale_up",
            &args(&[("limits.max", "8"), ("workload.namespace", "prod"), ("window_seconds", "0.5"), ("attr.pod", "x")]),
        )
        .unwrap();
        assert_eq!((call.verb, call.compute, call.window_ms), (Verb::ScaleUp, Compute::By(2), 500));
        assert_eq!(call.limits, Limits { min: None, max: Some(8), max_step: None });
        assert_eq!((call.workload.name.as_str(), call.workload.namespace.as_deref()), ("scanner", Some("prod")));
    }

    #[test]
    fn a_request_that_makes_no_sense_names_the_argument() {
        for (name, value) in [
            ("compute", ""),
            ("compute", "++2"),
            ("compute", "+-2"),
            ("compute", "2.5"),
            ("compute", "20%"),
            ("compute", "99999999999"),
            ("limits.max", "-1"),
            ("limits.max_step", "many"),
            ("window_seconds", "NaN"),
            ("window_seconds", "1e300"),
        ] {
            let bad = ScaleCall::parse("scale", &args(&[(name, value)])).unwrap_err();
            assert_eq!((bad.argument.as_str(), bad.value.as_deref()), (name, Some(value)));
        }
        let crossed = ScaleCall::parse("scale", &args(&[("limits.min", "5"), ("limits.max", "4")])).unwrap_err();
        assert_eq!(crossed.argument, "limits.min");
        for missing in ["compute", "workload.kind", "workload.name", "window_seconds"] {
            let mut args = args(&[]);
            args.remove(missing);
            let bad = ScaleCall::parse("scale", &args).unwrap_err();
            assert_eq!((bad.argument.as_str(), bad.value), (missing, None));
        }
        assert_eq!(ScaleCall::parse("page", &args(&[])).unwrap_err().argument, "verb");
    }

    #[test]
    fn defaults_hold_where_the_spec_is_silent_and_never_contradict_it() {
        for (limits, seen, bounds) in [
            ((None, None, None), 2, (1, 10, 4)),
            ((None, None, None), 7, (1, 14, 4)),
            ((Some(20), None, None), 2, (20, 20, 4)),
            ((None, Some(0), None), 2, (0, 0, 4)),
            ((Some(0), Some(3), Some(1)), 9, (0, 3, 1)),
            ((None, None, None), u32::MAX, (1, u32::MAX, 4)),
        ] {
            let limits = Limits { min: limits.0, max: limits.1, max_step: limits.2 };
            let found = Bounds::of(&limits, seen);
            assert_eq!((found.min, found.max, found.max_step), bounds, "{limits:?} {seen}");
        }
    }

    /// `verb compute` at `now` replicas within `min..=max` by at most `max_step`.
    fn at(verb: &str, compute: &str, now: u32, (min, max, max_step): (u32, u32, u32)) -> Result<Replicas, Nothing> {
        goal(Verb::of(verb).unwrap(), compute.parse().unwrap(), now, Bounds { min, max, max_step })
    }

    #[test]
    fn goals_are_absolute_and_within_bounds() {
        use Bound::{Max, MaxStep, Min};
        for (verb, compute, now, bounds, to, bound) in [
            ("scale_up", "+2", 4, (1, 10, 4), 6, None),
            ("scale_up", "6", 4, (1, 10, 4), 6, None),
            ("scale_up", "+2", 9, (1, 10, 4), 10, Some(Max)),
            ("scale_up", "+9", 2, (1, 10, 4), 6, Some(MaxStep)),
            ("scale_up", "+1", 0, (1, 10, 4), 1, None),
            ("scale_up", "+1", 1, (5, 10, 4), 5, Some(Min)),
            ("scale_up", "+1", 1, (9, 10, 4), 5, Some(MaxStep)),
            ("scale_down", "-1", 4, (1, 10, 4), 3, None),
            ("scale_down", "1", 4, (2, 10, 4), 2, Some(Min)),
            ("scale_down", "-9", 4, (0, 10, 9), 0, Some(Min)),
            ("scale_down", "-1", 20, (1, 10, 4), 16, Some(MaxStep)),
            ("scale", "2", 4, (1, 10, 4), 2, None),
            ("scale", "0", 3, (1, 10, 4), 1, Some(Min)),
            ("scale", "8", 12, (1, 10, 4), 8, None),
            ("scale", "11", 12, (1, 10, 4), 10, Some(Max)),
            ("scale", "4294967295", 4_294_967_290, (1, u32::MAX, 4), 4_294_967_294, Some(MaxStep)),
        ] {
            let found = at(verb, compute, now, bounds).unwrap();
            assert_eq!((found.to, found.bound), (to, bound), "{verb} {compute} at {now} in {bounds:?}");
        }
    }

    #[test]
    fn where_nothing_is_to_be_done_it_says_why() {
        use Nothing::{AtGoal, AtMax, AtMin, NeverLowers, NeverRaises, NoStep};
        for (verb, compute, now, bounds, why) in [
            ("scale_up", "+2", 10, (1, 10, 4), AtMax),
            ("scale_up", "+2", 12, (1, 10, 4), AtMax),
            ("scale_up", "2", 4, (1, 10, 4), NeverLowers),
            ("scale_up", "-1", 4, (1, 10, 4), NeverLowers),
            ("scale_up", "+0", 4, (1, 10, 4), AtGoal),
            ("scale_up", "4", 4, (1, 10, 4), AtGoal),
            ("scale_down", "-1", 1, (1, 10, 4), AtMin),
            ("scale_down", "-1", 0, (1, 10, 4), AtMin),
            ("scale_down", "-1", 3, (5, 10, 4), AtMin),
            ("scale_down", "6", 4, (1, 10, 4), NeverRaises),
            ("scale", "20", 10, (1, 10, 4), AtMax),
            ("scale", "0", 1, (1, 10, 4), AtMin),
            ("scale", "20", 12, (1, 10, 4), AtMax),
            ("scale", "-1", 3, (5, 10, 4), AtMin),
            ("scale", "4", 4, (1, 10, 4), AtGoal),
            ("scale_up", "+2", 4, (1, 10, 0), NoStep),
        ] {
            assert_eq!(at(verb, compute, now, bounds), Err(why), "{verb} {compute} at {now} in {bounds:?}");
        }
    }

    #[test]
    fn no_request_changes_the_wrong_way_or_by_more_than_a_step() {
        for now in 0..12 {
            for change in -12..=12_i64 {
                for verb in ["scale_up", "scale_down", "scale"] {
                    let bounds = (2, 9, 3);
                    let Ok(found) = at(verb, &format!("{change:+}"), now, bounds) else { continue };
                    let moved = i64::from(found.to) - i64::from(now);
                    assert!(moved != 0 && moved.abs() <= 3, "{verb} {change} at {now}: {found:?}");
                    assert_eq!(moved.signum(), change.signum(), "{verb} {change} at {now}: {found:?}");
                    assert!(verb != "scale_up" || moved > 0, "{change} at {now}: {found:?}");
                    assert!(verb != "scale_down" || moved < 0, "{change} at {now}: {found:?}");
                    // Inside the limits it stays inside.
                    assert!(!(2..=9).contains(&now) || (2..=9).contains(&found.to), "{verb} {change} at {now}");
                }
            }
        }
    }
}
