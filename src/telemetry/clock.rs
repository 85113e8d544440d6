//! The host's clock, and how times are written for people. Nothing that decides may read the clock: it paces ticks,
//! stamps what we emit and the actions of actors.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `2026-11-24T12:00:00Z`, with milliseconds where there are any.
pub fn format_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |stamp| stamp.to_string())
}
