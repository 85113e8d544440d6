//! What became of the records of `ops.metrics`: nothing is dropped in silence.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::reading::RejectReason;
use crate::processor::core::Outcome;

/// Records by outcome. INV-12: `consumed = counted + rejected + forwarded + ticks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All records.
    pub consumed: u64,
    /// Readings that count, the late ones among them.
    pub counted: u64,
    /// Readings that count, but came after an instant they belong to.
    pub late: u64,
    /// Ticks.
    pub ticks: u64,
    /// Readings sent to their home partition.
    #[serde(skip_serializing_if = "is_zero")]
    pub forwarded: u64,
    /// Dead letters, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Counts {
    /// Takes note of one outcome.
    pub fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Counted { late } => {
                self.counted += 1;
                self.late += u64::from(late);
            }
            Outcome::Rejected(reason) => *self.rejected.entry(reason).or_default() += 1,
            Outcome::Forwarded { .. } => self.forwarded += 1,
            Outcome::Tick => self.ticks += 1,
        }
    }

    /// What came since `before`, which lies in the past of these counts.
    pub fn since(&self, before: &Self) -> Self {
        let was = |reason| before.rejected.get(reason).copied().unwrap_or(0);
        Self {
            consumed: self.consumed - before.consumed,
            counted: self.counted - before.counted,
            late: self.late - before.late,
            ticks: self.ticks - before.ticks,
            forwarded: self.forwarded - before.forwarded,
            rejected: self.rejected.iter().map(|(reason, number)| (*reason, number - was(reason))).collect(),
        }
    }

    /// INV-12.
    pub fn is_conserved(&self) -> bool {
        self.consumed == self.counted + self.rejected.values().sum::<u64>() + self.forwarded + self.ticks
    }
}
