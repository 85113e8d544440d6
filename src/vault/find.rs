//! Looks things up in the vault: what `ops dta find` and `ops dta show` print. Reads only.
//!
//! A filter leaves out only what it can prove not to match. A record that cannot be decoded has no kind, so it
//! is among the findings and says so; segments that are damaged, or do not fit together, are told beside them.

use serde_json::Value;

use super::Vault;
use super::chain;
use super::decode::Decode;
use super::error::VaultError;
use super::segment::{Entry, LogId};
use crate::codec::ids::Ids;

/// What to look for. `Query::default()` is everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// A topic; `ops.incident` means `ops.incidents`, `ops.action` means `ops.actions`.
    pub topic: Option<String>,
    /// A service's id: the key of its records.
    pub service: Option<String>,
    /// The name of an event, as in `event` of the decoded record.
    pub kind: Option<String>,
    /// The least append time, ms.
    pub from: Option<i64>,
    /// The first append time that is too late, ms.
    pub to: Option<i64>,
}

/// One record that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// In which log.
    pub log: LogId,
    /// The record as it is in the vault.
    pub entry: Entry,
    /// Its number among the records of the log, from 0; none if nobody counted.
    pub number: Option<u64>,
    /// What it says, or why that cannot be told.
    pub decoded: Result<Value, String>,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// By append time, then log and offset.
    pub found: Vec<Found>,
    /// What could not be looked at, or does not fit together: the findings may lack something.
    pub damage: Vec<VaultError>,
}

/// One position of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The record there.
    Record(Entry),
    /// The vault covers the position and no record has it: a transaction marker, or the topic no longer had it.
    Hole,
    /// The vault does not reach that far.
    Beyond {
        /// Where it ends; `None` if it has nothing of the log.
        end: Option<i64>,
    },
}

/// What a record says, or why that cannot be told.
type Says<'a> = dyn Fn(&LogId, &Entry) -> Result<Value, String> + 'a;

/// Looks for records.
pub async fn find(vault: &Vault, query: &Query, decode: &impl Decode) -> Result<Findings, VaultError> {
    let topic = query.topic.as_deref().map(canonical_topic);
    let mut findings = Findings::default();
    let ids = vault.ids().await.unwrap_or_else(|damage| {
        findings.damage.push(damage);
        Ids::default()
    });
    let says = |log: &LogId, entry: &Entry| decode.decode(&log.topic, &ids, entry);
    for log in vault.logs().await? {
        if topic.as_ref().is_none_or(|topic| *topic == log.topic) {
            let found = find_in(vault, &log, query, &says, &mut findings).await;
            found.unwrap_or_else(|damage| findings.damage.push(damage));
        }
    }
    findings.found.sort_by(|a, b| {
        let key = |found: &Found| (found.entry.timestamp, found.entry.offset);
        (key(a).0, &a.log, key(a).1).cmp(&(key(b).0, &b.log, key(b).1))
    });
    Ok(findings)
}

async fn find_in(
    vault: &Vault,
    log: &LogId,
    query: &Query,
    says: &Says<'_>,
    findings: &mut Findings,
) -> Result<(), VaultError> {
    let segments = vault.segments(log).await?;
    let mut before = 0;
    for segment in &segments {
        let first = before;
        before += segment.records;
        if !segment.times.is_some_and(|times| query.meets(times)) {
            continue;
        }
        match vault.read(segment).await {
            Ok(entries) => {
                let numbered = (first..).zip(entries);
                findings.found.extend(numbered.filter_map(|(number, entry)| query.select(log, number, entry, says)));
            }
            Err(damage) => findings.damage.push(damage),
        }
    }
    chain::check(&segments)?;
    Ok(())
}

/// Looks at one position of a log.
pub async fn show(vault: &Vault, log: &LogId, offset: i64) -> Result<Lookup, VaultError> {
    let segments = vault.segments(log).await?;
    let Some(segment) = segments.iter().find(|segment| (segment.from..segment.to).contains(&offset)) else {
        return Ok(Lookup::Beyond { end: chain::check(&segments)? });
    };
    let entry = vault.read(segment).await?.into_iter().find(|entry| entry.offset == offset);
    Ok(entry.map_or(Lookup::Hole, Lookup::Record))
}

/// The topic that a name means: `ops.incident` is `ops.incidents`, behind any prefix; `ops.action` alike.
pub fn canonical_topic(name: &str) -> String {
    let is_singular = name.ends_with("ops.incident") || name.ends_with("ops.action");
    format!("{name}{}", if is_singular { "s" } else { "" })
}

impl Query {
    /// Can a segment with append times from `least` to `greatest` hold something?
    fn meets(&self, (least, greatest): (i64, i64)) -> bool {
        self.from.is_none_or(|from| greatest >= from) && self.to.is_none_or(|to| least < to)
    }

    fn select(&self, log: &LogId, number: u64, entry: Entry, says: &Says<'_>) -> Option<Found> {
        if !self.meets((entry.timestamp, entry.timestamp)) || !self.may_be_of_service(&entry) {
            return None;
        }
        let decoded = says(log, &entry);
        if let (Some(kind), Ok(value)) = (&self.kind, &decoded)
            && value["event"] != kind.as_str()
        {
            return None;
        }
        Some(Found { log: log.clone(), entry, number: Some(number), decoded })
    }

    /// A record without a key belongs to nobody that could be ruled out.
    fn may_be_of_service(&self, entry: &Entry) -> bool {
        match (&self.service, &entry.key) {
            (Some(service), Some(key)) => key == service.as_bytes(),
            _ => true,
        }
    }
}
