//! Where specs take effect and end, as the published events say. Used by the judge alone.

use hms_ops::model::incident::{EventKind, IncidentEvent};

use crate::oracle::Entry;

/// A spec takes effect, or ends.
pub enum Change {
    /// Before the record at an offset.
    Activated { text: String, from_offset: i64 },
    /// Known by the clock alone.
    Retired { id: String, at: i64 },
}

impl Change {
    /// The change that an event tells of.
    pub fn of(event: &IncidentEvent) -> Option<Self> {
        match &event.kind {
            EventKind::SpecActivated { text, from_offset, .. } => {
                Some(Self::Activated { text: text.to_string(), from_offset: *from_offset })
            }
            EventKind::SpecRetired => Some(Self::Retired { id: event.service.to_string(), at: event.at }),
            _ => None,
        }
    }

    /// Does it say so itself?
    pub fn is_known_to_lie_before(&self, offset: i64) -> bool {
        matches!(self, Self::Activated { from_offset, .. } if *from_offset <= offset)
    }

    /// `spec_retired` tells the clock alone. Nothing happens while it stands still, so the last place is as good
    /// as any: before the record that moves it on (none: the end of the log).
    pub fn is_over(&self, clock: Option<i64>, append: Option<i64>) -> bool {
        let Self::Retired { at, .. } = self else { return false };
        clock.unwrap_or(0) == *at && append.is_none_or(|append| append > *at)
    }

    /// Where it takes effect, if the next record is at `offset`.
    pub fn place(&self, offset: i64) -> i64 {
        match self {
            Self::Activated { from_offset, .. } => *from_offset,
            Self::Retired { .. } => offset,
        }
    }

    /// As the oracle hears of it.
    pub fn entry(self) -> Entry {
        match self {
            Self::Activated { text, .. } => Entry::Spec(text),
            Self::Retired { id, .. } => Entry::Retire(id),
        }
    }
}
