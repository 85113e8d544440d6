//! The drivers: how what was decided is done in the world. They carry out one call and say truthfully what is
//! known afterwards; they decide nothing and repeat nothing (that is the actors' part, who call them).
//!
//! - [`kubernetes`]: the scale subresource, fenced by uid and resourceVersion.
//! - [`webhook`]: one POST with an `Idempotency-Key`.
//! - [`pagerduty`]: the Events API v2, repeats joined by `dedup_key`.
//! - [`slack`]: `chat.postMessage`, and the question whether a message is there.
//! - [`email`]: SMTP, with a `Message-ID` of the action's.
//! - [`ping`]: one GET that says that we are alive.
//! - [`scale`]: the words that the scale driver and the guards share.

use std::time::Duration;

use thiserror::Error;

pub mod email;
mod http;
pub mod kubernetes;
pub mod pagerduty;
pub mod ping;
pub mod scale;
pub mod slack;
pub mod webhook;

/// Longest that one request to the outside may take, connecting included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What a driver knows when a call did not succeed. `target` names what was addressed, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WorldError {
    /// The target is not there. Nothing was done.
    #[error("{target} was not found")]
    NotFound {
        /// What was addressed.
        target: String,
    },
    /// The target changed between the read and the write, or is another object by now. Nothing was done.
    #[error("{target} changed since it was read: {reason}")]
    Conflict {
        /// What was addressed.
        target: String,
        /// In the words of the target.
        reason: String,
    },
    /// We are not allowed to. Nothing was done.
    #[error("{target} may not be touched by us: {reason}")]
    Forbidden {
        /// What was addressed.
        target: String,
        /// In the words of the target.
        reason: String,
    },
    /// No connection, or no answer to a question that changes nothing. Nothing was done.
    #[error("{target} cannot be reached: {reason}")]
    Unreachable {
        /// What was addressed.
        target: String,
        /// Why.
        reason: String,
    },
    /// The call was sent and no clear answer came: it may have been done, or may yet be.
    #[error("{target} gave no clear answer, the outcome is unknown: {reason}")]
    Unknown {
        /// What was addressed.
        target: String,
        /// Why.
        reason: String,
    },
    /// The target answered and refused. Nothing was done.
    #[error("{target} refused with status {status}: {reason}")]
    Refused {
        /// What was addressed.
        target: String,
        /// HTTP status.
        status: u16,
        /// In the words of the target.
        reason: String,
        /// How long the target asks us to wait, ms.
        retry_after_ms: Option<u64>,
    },
    /// The target answered that it cannot now. Nothing was done.
    #[error("{target} cannot take it now: {reason}")]
    Busy {
        /// What was addressed.
        target: String,
        /// In the words of the target.
        reason: String,
        /// How long the target asks us to wait, ms; 0 if it does not say.
        after_ms: u64,
    },
    /// The call itself is wrong (a name that cannot be one, a broken kubeconfig). Nothing was sent.
    #[error("{target} cannot be addressed: {reason}")]
    Invalid {
        /// What was to be addressed.
        target: String,
        /// What is wrong.
        reason: String,
    },
}

/// What may be done after a [`WorldError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing was done and the same call may succeed later, not before `after_ms` (0: as the caller likes).
    Retry {
        /// How long the target asks us to wait, ms.
        after_ms: u64,
    },
    /// Look at the target before anything else: it is not as we believe, or may have obeyed.
    LookFirst,
    /// The same call will fail again.
    GiveUp,
}

impl WorldError {
    /// What may be done next.
    pub fn hint(&self) -> Hint {
        match self {
            Self::Unreachable { .. } => Hint::Retry { after_ms: 0 },
            Self::Busy { after_ms, .. } => Hint::Retry { after_ms: *after_ms },
            // A server error here is a question's: a write that met one is `Unknown`.
            Self::Refused { status: 429 | 500.., retry_after_ms, .. } => {
                Hint::Retry { after_ms: retry_after_ms.unwrap_or(0) }
            }
            Self::Conflict { .. } | Self::Unknown { .. } => Hint::LookFirst,
            Self::NotFound { .. } | Self::Forbidden { .. } | Self::Refused { .. } | Self::Invalid { .. } => {
                Hint::GiveUp
            }
        }
    }
}

/// Gives the process its TLS provider (ring), once; both HTTP clients take the process's. An embedding program
/// that installed another one before keeps it.
pub(crate) fn install_crypto_provider() {
    // The error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The beginning of a foreign text, at most `limit` bytes, made safe to log: control characters become spaces.
fn excerpt(text: &str, limit: usize) -> String {
    let fits = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= limit);
    let safe: String = fits.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect();
    safe.trim().to_owned()
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_surely_did_nothing_may_be_retried() {
        let target = String::from("t");
        let reason = String::from("r");
        let refused = |status, retry_after_ms| WorldError::Refused {
            target: "t".into(),
            status,
            reason: "r".into(),
            retry_after_ms,
        };
        for (error, hint) in [
            (WorldError::NotFound { target: target.clone() }, Hint::GiveUp),
            (WorldError::Conflict { target: target.clone(), reason: reason.clone() }, Hint::LookFirst),
            (WorldError::Unknown { target: target.clone(), reason: reason.clone() }, Hint::LookFirst),
            (WorldError::Unreachable { target, reason }, Hint::Retry { after_ms: 0 }),
            (refused(429, Some(1500)), Hint::Retry { after_ms: 1500 }),
            (refused(503, None), Hint::Retry { after_ms: 0 }),
            (refused(500, None), Hint::Retry { after_ms: 0 }),
            (refused(422, None), Hint::GiveUp),
        ] {
            assert_eq!(error.hint(), hint, "{error}");
        }
    }

    #[test]
    fn a_foreign_text_is_cut_and_cannot_forge_log_lines() {
        assert_eq!(excerpt("no\nway\u{1b}[31m é", 9), "no way [3");
        assert_eq!(excerpt("é", 1), "");
    }
}
