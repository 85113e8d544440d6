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
    /// What is owed, while the oldest request waits for a human; `None`: the offset says it.
    pub owes: Option<Owes>,
}

/// What an actor owes an answer to, apart from what waits for a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owes {
    /// In `ops.incidents`: the oldest request that waits for the actor itself, or the end of what was read.
    pub offset: i64,
    /// Until when, ms, the others may wait: then the first of them is owed an answer too.
    pub until_ms: i64,
}

/// The oldest request that an actor owes an answer, by its committed `offset` and the metadata there. Metadata of
/// others say nothing.
pub fn owed(offset: i64, metadata: &str, now_ms: i64) -> i64 {
    let owes = metadata.parse::<Bookmark>().ok().and_then(|bookmark| bookmark.owes);
    owes.filter(|owes| now_ms <= owes.until_ms).map_or(offset, |owes| owes.offset)
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, incidents, actions, released, owes } = self;
        let state = if *released { "released" } else { "held" };
        write!(f, "v1 {state} writer={writer} incidents={incidents} actions={actions}")?;
        match owes {
            Some(Owes { offset, until_ms }) => write!(f, " owes={offset} until={until_ms}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Bookmark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let (["v1", state, writer, incidents, actions], owes) = words.split_first_chunk().ok_or(())? else {
            return Err(());
        };
        let offset = |word: &str, name: &str| -> Result<i64, ()> {
            let offset: i64 = word.strip_prefix(name).ok_or(())?.parse().map_err(|_| ())?;
            if offset < 0 { Err(()) } else { Ok(offset) }
        };
        Ok(Self {
            writer: writer.strip_prefix("writer=").filter(|writer| !writer.is_empty()).ok_or(())?.to_owned(),
            incidents: offset(incidents, "incidents=")?,
            actions: offset(actions, "actions=")?,
            owes: match owes {
                [] => None,
                [owes, until] => Some(Owes { offset: offset(owes, "owes=")?, until_ms: offset(until, "until=")? }),
                _ => return Err(()),
            },
            released: match *state {
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
        for (released, owes) in [(true, None), (false, Some(Owes { offset: 9, until_ms: 5 }))] {
            let bookmark = Bookmark { writer: "ops-pager.a".to_owned(), incidents: 7, actions: 0, released, owes };
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
            "v1 held writer=a incidents=1 actions=1 owes=1",
            "v1 held writer=a incidents=1 actions=1 owes=1 until=1 more=1",
        ] {
            assert_eq!(text.parse::<Bookmark>(), Err(()), "{text}");
        }
    }

    #[test]
    fn what_waits_for_a_human_is_owed_no_answer_until_its_time_is_over() {
        let waits = "v1 held writer=a incidents=1 actions=1 owes=9 until=100";
        assert_eq!((owed(3, waits, 100), owed(3, waits, 101)), (9, 3));
        assert_eq!((owed(3, "v1 held writer=a incidents=1 actions=1", 0), owed(3, "of others", 0)), (3, 3));
    }
}
