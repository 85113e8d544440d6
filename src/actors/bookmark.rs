//! What an actor commits beside its offset: who writes, and from where to read to know what it knew. Pure.

use std::fmt;
use std::str::FromStr;

/// The metadata of a committed offset of `ops.incidents`. The offset itself is the oldest request without an
/// outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// The transactional id to fence before anything else.
    pub writer: String,
    /// From where in `ops.incidents` the facts about what is still open can be read; at most the offset.
    pub incidents: i64,
    /// From where in `ops.actions` what was done about it can be read.
    pub actions: i64,
    /// The writer has given the partition up; it need not be fenced.
    pub released: bool,
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, incidents, actions, released } = self;
        let state = if *released { "released" } else { "held" };
        write!(f, "v1 {state} writer={writer} incidents={incidents} actions={actions}")
    }
}

impl FromStr for Bookmark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let ["v1", state, writer, incidents, actions] = words[..] else { return Err(()) };
        let offset = |word: &str, name: &str| -> Result<i64, ()> {
            let offset: i64 = word.strip_prefix(name).ok_or(())?.parse().map_err(|_| ())?;
            if offset < 0 { Err(()) } else { Ok(offset) }
        };
        Ok(Self {
            writer: writer.strip_prefix("writer=").filter(|writer| !writer.is_empty()).ok_or(())?.to_owned(),
            incidents: offset(incidents, "incidents=")?,
            actions: offset(actions, "actions=")?,
            released: match state {
                "released" => true,
                "held" => false,
                _ => return Err(()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_comes_back_and_nothing_else_is_taken_for_one() {
        for released in [true, false] {
            let bookmark = Bookmark { writer: "ops-pager.a".to_owned(), incidents: 7, actions: 0, released };
            assert_eq!(bookmark.to_string().parse(), Ok(bookmark));
        }
        for text in [
            "",
            "v1",
            "v2 held writer=a incidents=1 actions=1",
            "v1 held writer= incidents=1 actions=1",
            "v1 held writer=a incidents=-1 actions=1",
            "v1 lost writer=a incidents=1 actions=1",
            "v1 held writer=a incidents=1 actions=1 more=1",
        ] {
            assert_eq!(text.parse::<Bookmark>(), Err(()), "{text}");
        }
    }
}
