//! What is committed beside an offset of `ops.metrics`: all that the next owner of the partition needs to find its
//! state. At most a few hundred bytes of ASCII. Pure.

use serde::{Deserialize, Serialize};

/// Written by the worker with every commit; read by whoever takes the partition over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The transactional id under which the partition is written: to be fenced before its state is trusted.
    pub writer: String,
    /// Position of the last cut; its `_partition` record is in `ops.state`.
    pub cut: i64,
    /// An offset in `ops.state` that the last full cut does not lie before, and close to where it begins.
    pub state: i64,
    /// The writer gave the partition up in order: it needs no fencing.
    pub released: bool,
}

impl Metadata {
    /// The text that is committed.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads it back; `None` if a stranger wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_short_ascii_and_comes_back() {
        let metadata = Metadata { writer: "ops-processor-a-0".into(), cut: i64::MAX, state: i64::MAX, released: true };
        let text = metadata.to_text();
        assert!(text.is_ascii() && text.len() < 4096, "{text}");
        assert_eq!(Metadata::parse(&text), Some(metadata));
        assert_eq!(Metadata::parse("someone else's"), None);
    }
}
