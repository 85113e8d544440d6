//! What an auditor does with the topics of a fleet: `ops replay --verify`, which computes every event again by the
//! production core and compares bytes. The judge knows the definitions, the auditor the bytes.

use super::fleet::{Fleet, ops};
use super::judge::{Judged, judge};

/// Audits all that the fleet has written, and says how many events are equal. The error is the first difference.
pub fn audit(fleet: &Fleet) -> Result<usize, String> {
    let mut command = ops();
    command.args(["replay", "--verify", "--brokers", fleet.settings.brokers()]);
    command.args(["--topic-prefix", &fleet.prefix, "--group", &fleet.group]);
    let output = command.output().map_err(|error| format!("ops replay: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let equal = said.lines().last().and_then(|last| last.strip_prefix("equal: ")?.split(' ').next()?.parse().ok());
    match equal {
        Some(events) if output.status.success() => Ok(events),
        _ => Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Both: the first difference that either finds.
pub fn judge_and_audit(fleet: &Fleet) -> Result<Judged, String> {
    let judged = judge(fleet)?;
    let equal = audit(fleet).map_err(|difference| format!("ops replay --verify: {difference}"))?;
    match equal == judged.events.len() {
        true => Ok(judged),
        false => Err(format!("ops replay --verify saw {equal} events, the judge {}", judged.events.len())),
    }
}
