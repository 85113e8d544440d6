//! What was published: the events of every service, ours and a peer's, and how they differ.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::error::{Error, Result};
use super::ground::Ground;
use crate::bus::{Isolation, Message, Next, Offsets, Reader};
use crate::codec;
use crate::model::incident::EventKind;

/// A reader that waits so long for what the log says to hold has met an open transaction.
const PATIENCE: Duration = Duration::from_secs(10);
/// Differences that are told.
const TOLD: usize = 5;

/// What a peer publishes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An incident begins.
    Opened,
    /// It is over.
    Resolved,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
        })
    }
}

/// By service, in order: what happened and at which instant.
pub type Events = BTreeMap<String, Vec<(Kind, i64)>>;

/// Reads all committed records of a topic, as far as no open transaction hides them. Says whether that was all.
///
/// # Errors
/// The bus.
pub fn read(ground: &Ground, topic: &str, mut each: impl FnMut(&Message<'_>) -> Result<()>) -> Result<bool> {
    let offsets = Offsets::new(&ground.settings)?;
    let mut reader = Reader::all(&ground.settings, &offsets, topic, Isolation::Committed)?;
    loop {
        match reader.next(PATIENCE)? {
            Next::Record(message) => each(&message)?,
            Next::End => return Ok(true),
            Next::Idle => return Ok(false),
        }
    }
}

/// The same of a topic of ours, where no transaction stays open.
///
/// # Errors
/// The bus; one does.
pub fn read_all(ground: &Ground, topic: &str, each: impl FnMut(&Message<'_>) -> Result<()>) -> Result<()> {
    if read(ground, topic, each)? {
        return Ok(());
    }
    let reason = "a transaction on it is open and stays so".to_owned();
    Err(Error::Unreadable { topic: topic.to_owned(), reason })
}

/// Ours, from `ops.incidents`.
///
/// # Errors
/// The bus; a record that is none.
pub fn ours(ground: &Ground) -> Result<Events> {
    let mut events = Events::new();
    let topic = &ground.topics.incidents;
    read_all(ground, topic, |message| {
        let event = codec::incident::decode(message.value().unwrap_or_default())
            .map_err(|error| Error::Unreadable { topic: topic.clone(), reason: error.to_string() })?;
        let kind = match event.kind {
            EventKind::Opened { .. } => Kind::Opened,
            EventKind::Resolved { .. } => Kind::Resolved,
            _ => return Ok(()),
        };
        events.entry(event.service.to_string()).or_default().push((kind, event.at));
        Ok(())
    })?;
    Ok(events)
}

/// A peer's: key = service, value = `opened MS` or `resolved MS`. What is none of that is an event of nobody, and so a
/// difference.
///
/// # Errors
/// The bus.
pub fn peers(ground: &Ground, topic: &str) -> Result<Events> {
    let mut events = Events::new();
    read(ground, topic, |message| {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (service, value) = (text(message.key()), text(message.value()));
        match parse(&value) {
            Some(event) => events.entry(service).or_default().push(event),
            None => drop(events.entry(format!("{service} (unreadable: {value:?})")).or_default()),
        }
        Ok(())
    })?;
    Ok(events)
}

fn parse(value: &str) -> Option<(Kind, i64)> {
    let (kind, at) = value.trim().split_once(' ')?;
    let kind = [Kind::Opened, Kind::Resolved].into_iter().find(|known| known.to_string() == kind)?;
    Some((kind, at.trim().parse().ok()?))
}

/// How many events there are.
pub fn count(events: &Events) -> usize {
    events.values().map(Vec::len).sum()
}

/// The first differences, a line each; none if both are the same.
pub fn differences(ours: &Events, theirs: &Events) -> Vec<String> {
    let services = ours.keys().chain(theirs.keys().filter(|service| !ours.contains_key(*service)));
    let differing = services.filter_map(|service| {
        let (our, their) = (ours.get(service), theirs.get(service));
        if our.is_some() && our == their {
            return None;
        }
        let (our, their) = (our.map_or(&[][..], Vec::as_slice), their.map_or(&[][..], Vec::as_slice));
        let at = our.iter().zip(their).take_while(|(our, their)| our == their).count();
        let show =
            |event: Option<&(Kind, i64)>| event.map_or("nothing".to_owned(), |(kind, at)| format!("{kind} {at}"));
        Some(format!("{service}, event {}: {} here, {} there", at + 1, show(our.get(at)), show(their.get(at))))
    });
    differing.take(TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_that_differs_is_named() {
        let events = |text: &str| -> Events { [("a".to_owned(), text.lines().filter_map(parse).collect())].into() };
        let ours = events("opened 1000\nresolved 3000");
        assert_eq!((differences(&ours, &ours), count(&ours)), (Vec::new(), 2));
        let told = |theirs: &Events| differences(&ours, theirs).join("; ");
        assert_eq!(told(&events("opened 1000")), "a, event 2: resolved 3000 here, nothing there");
        assert_eq!(told(&events("opened 2000\nresolved 3000")), "a, event 1: opened 1000 here, opened 2000 there");
        assert_eq!(told(&Events::new()), "a, event 1: opened 1000 here, nothing there");
        let more: Events =
            [ours.clone(), [("b".to_owned(), vec![(Kind::Opened, 5)])].into()].into_iter().flatten().collect();
        assert_eq!(told(&more), "b, event 1: nothing here, opened 5 there");
        let unreadable: Events = [("a (unreadable: \"x\")".to_owned(), Vec::new())].into();
        assert_eq!(differences(&Events::new(), &unreadable).len(), 1);
    }
}
