//! Why a target is down: a kind for metrics, which are bounded, and a reason for people, which names what was found.

use std::fmt;

/// Kind and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// For metrics.
    pub kind: Kind,
    /// For people: one line, may quote the target. Show it through [`crate::spec::diagnose::harmless`].
    pub reason: String,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The address is not allowed, or the URL is none.
    Refused,
    /// No connection, or it broke.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// Another status than 200, or no text of metrics.
    Answer,
    /// Longer than a page may be.
    TooLarge,
    /// The page breaks a rule.
    Broken,
    /// The sensor's sample is not on the page.
    Missing,
    /// More than one sample could be the sensor's.
    Ambiguous,
    /// The sample is there and is no reading.
    Unusable,
}

impl Kind {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Answer => "answer",
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Unusable => "unusable",
        }
    }
}

impl Down {
    /// A target that is down.
    pub fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
