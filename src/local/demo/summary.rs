//! The end of the story: its numbers, and what the vault has of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::delay::Delays;
use super::error::Error;
use super::stage::Stage;
use super::story::Story;
use crate::model::IncidentId;
use crate::vault::Vault;
use crate::vault::decode::ByTopic;
use crate::vault::find::{Query, find};

/// What the vault has of an incident by append time: the place of each record, and what it says.
///
/// # Errors
/// The vault cannot be read.
pub fn entries(stage: &Stage, incident: &IncidentId) -> Result<Vec<(String, String)>, Error> {
    let vault = Vault::open(&stage.vault.display().to_string())?;
    let query = Query { service: Some(incident.service.to_string()), ..Query::default() };
    let findings = stage.runtime.block_on(find(&vault, &query, &ByTopic))?;
    let name = incident.to_string();
    let entries = findings.found.into_iter().filter_map(|found| {
        let value = found.decoded.ok()?;
        let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let what = format!("{} {}", word("event"), word("verb")).trim_end().to_owned();
        (word("incident") == name).then(|| (format!("{}/{}", found.log, found.entry.offset), what))
    });
    Ok(entries.collect())
}

/// The numbers of a story that is complete.
pub struct Summary<'a> {
    /// What happened.
    pub story: &'a Story,
    /// How long verdicts took.
    pub delays: &'a Delays,
    /// Readings that the cluster has acknowledged.
    pub acknowledged: &'a AtomicU64,
    /// What the vault has of the incident.
    pub entries: Vec<(String, String)>,
    /// How many records the bus has of it.
    pub records: usize,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nIn numbers:")?;
        writeln!(f, "  readings   {} sent and acknowledged", self.acknowledged.load(Ordering::Relaxed))?;
        let delays: Vec<_> = self.delays.measured().iter().map(|(name, ms)| format!("{name} {ms} ms")).collect();
        writeln!(f, "  delay      {}", delays.join(", "))?;
        writeln!(f, "             (append of the record that made it due -> receipt by a read_committed consumer)")?;
        if let Some((incident, _)) = self.story.first_incident() {
            writeln!(f, "  incident   {incident}, {}", self.story.ending())?;
        }
        for outcome in self.story.outcomes() {
            writeln!(f, "  action     {outcome}")?;
        }
        writeln!(
            f,
            "  vault      {} of its {} records are archived, byte for byte:",
            self.entries.len(),
            self.records
        )?;
        let width = self.entries.iter().map(|(place, _)| place.len()).max().unwrap_or(0);
        self.entries.iter().try_for_each(|(place, what)| writeln!(f, "             {place:<width$}  {what}"))
    }
}
