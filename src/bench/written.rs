//! What a processor has written for what it has read: records and bytes of its topics, over all and in steady state.

use std::collections::BTreeMap;

use super::error::{Error, Result};
use super::events;
use super::ground::{Ground, Input};
use crate::bus::Message;
use crate::codec;
use crate::model::reading::RejectReason;

/// Of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    /// Committed records.
    pub records: u64,
    /// Their keys, values and headers.
    pub bytes: u64,
    /// Of those from the first steady cut on.
    pub steady_bytes: u64,
}

/// What is on the outputs.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Written {
    /// By topic, without the prefix.
    pub topics: BTreeMap<&'static str, Part>,
    /// Dead letters that nobody could decode: the poison.
    pub poison: u64,
    /// Steady bytes written for a byte read; none if no cut was steady.
    pub steady_share: Option<f64>,
    /// The same of the bytes that the broker stored, over the last 60 % of the readings; none if its files cannot be seen.
    pub stored_share: Option<f64>,
}

/// Reads the outputs back. Steady begins, in each partition, with the first rollup of a cut at or after `steady_from`;
/// what else is steady tells the append time.
///
/// # Errors
/// The bus; a record that is none.
pub fn read(ground: &Ground, input: &Input, steady_from: i64) -> Result<Written> {
    let topics = &ground.topics;
    let mut written = Written::default();
    let mut steady: BTreeMap<i32, i64> = BTreeMap::new();
    let rollups = part(ground, &topics.rollups, |message| {
        let partition = message.partition();
        if steady.contains_key(&partition) {
            return Ok(true);
        }
        let rollup =
            codec::state::decode_rollup(message.value().unwrap_or_default()).map_err(unreadable(&topics.rollups))?;
        if rollup.cut_clock < steady_from {
            return Ok(false);
        }
        steady.insert(partition, message.timestamp().ms().unwrap_or(0));
        Ok(true)
    })?;
    written.topics.insert("ops.rollups", rollups);
    let is_steady = |message: &Message<'_>| {
        steady.get(&message.partition()).is_some_and(|from| message.timestamp().ms().is_some_and(|at| at >= *from))
    };
    for (name, topic) in [("ops.incidents", &topics.incidents), ("ops.state", &topics.state)] {
        written.topics.insert(name, part(ground, topic, |message| Ok(is_steady(message)))?);
    }
    let rejected = part(ground, &topics.rejected, |message| {
        let letter =
            codec::rejected::decode(message.value().unwrap_or_default()).map_err(unreadable(&topics.rejected))?;
        written.poison += u64::from(letter.reason == RejectReason::BadMagic);
        Ok(is_steady(message))
    })?;
    written.topics.insert("ops.metrics.rejected", rejected);
    let bytes: u64 = written.topics.values().map(|part| part.steady_bytes).sum();
    written.steady_share = (!steady.is_empty()).then(|| bytes as f64 / input.steady_bytes as f64);
    Ok(written)
}

fn unreadable(topic: &str) -> impl FnOnce(codec::Error) -> Error {
    move |error| Error::Unreadable { topic: topic.to_owned(), reason: error.to_string() }
}

fn part(ground: &Ground, topic: &str, mut is_steady: impl FnMut(&Message<'_>) -> Result<bool>) -> Result<Part> {
    let mut part = Part::default();
    events::read_all(ground, topic, |message| {
        let headers = message.headers();
        let headers = headers.iter().map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len));
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let bytes = (length(message.key()) + length(message.bytes()) + headers.sum::<usize>()) as u64;
        part.records += 1;
        part.bytes += bytes;
        part.steady_bytes += if is_steady(message)? { bytes } else { 0 };
        Ok(())
    })?;
    Ok(part)
}
