//! Which of our schemas belongs to which subject (`{topic}-value`), what differs between the registry and what is declared,
//! and how that is mended. `ops topics diff` shows it, `ops topics apply` mends it; no service ever registers anything.

use serde::Serialize;

use super::client::{Client, Error, LEVEL};
use crate::codec;
use crate::codec::format::Format;
use crate::model::topics::Topics;

/// What is under one subject.
pub struct Subject {
    /// TopicNameStrategy: what stock clients look under.
    pub name: String,
    /// What is written there.
    pub format: &'static Format,
}

/// The subjects of all topics.
pub fn subjects(topics: &Topics) -> Vec<Subject> {
    let topic_of = |format: &Format| match format.name() {
        "reading" => &topics.metrics,
        "service_spec" => &topics.services,
        "incident" => &topics.incidents,
        "rollup" => &topics.rollups,
        "state" => &topics.state,
        "rejected" => &topics.rejected,
        "action" => &topics.actions,
        "target" => &topics.targets,
        other => unreachable!("the schema {other} has no topic"),
    };
    let subject = |format| Subject { name: format!("{}-value", topic_of(format)), format };
    codec::formats().into_iter().map(subject).collect()
}

/// What of a subject is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// Our schema is not registered.
    NotRegistered,
    /// The subject has another compatibility level than ours, or none of its own.
    Level {
        /// Which.
        found: Option<String>,
    },
    /// Our schema may not become its next version. Cannot be mended.
    Incompatible {
        /// In the registry's words.
        why: String,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotRegistered => f.write_str("our schema is not registered"),
            Self::Level { found: Some(found) } => write!(f, "compatibility {found}, declared {LEVEL}"),
            Self::Level { found: None } => write!(f, "no compatibility of its own, declared {LEVEL}"),
            Self::Incompatible { why } => write!(f, "our schema is incompatible with its versions: {why}"),
        }
    }
}

/// All differences, by subject. Changes nothing.
///
/// # Errors
/// The registry does not answer, or refuses.
pub fn differences(client: &Client, subjects: &[Subject]) -> Result<Vec<(String, Difference)>, Error> {
    let mut found = Vec::new();
    for Subject { name, format } in subjects {
        let level = client.level(name)?;
        if level.as_deref() != Some(LEVEL) {
            found.push((name.clone(), Difference::Level { found: level }));
        }
        if client.find(name, format.text())?.is_none() {
            let difference = match client.incompatibilities(name, format.text())? {
                Some(why) => Difference::Incompatible { why },
                None => Difference::NotRegistered,
            };
            found.push((name.clone(), difference));
        }
    }
    Ok(found)
}

/// Mends them, unless one cannot be: what cannot is returned, and nothing was registered then. Levels come first: it is
/// under ours that the registry compares.
///
/// # Errors
/// The registry does not answer, or refuses.
pub fn apply(client: &Client, subjects: &[Subject]) -> Result<Vec<(String, Difference)>, Error> {
    for Subject { name, .. } in subjects {
        if client.level(name)?.as_deref() != Some(LEVEL) {
            client.set_level(name)?;
        }
    }
    let mut found = differences(client, subjects)?;
    found.retain(|(_, difference)| matches!(difference, Difference::Incompatible { .. }));
    if !found.is_empty() {
        return Ok(found);
    }
    for Subject { name, format } in subjects {
        client.register(name, format.text())?;
        // Some registries forget a level that is set before there is anything to compare.
        if client.level(name)?.as_deref() != Some(LEVEL) {
            client.set_level(name)?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_the_subject_of_its_topic() {
        let names: Vec<_> = subjects(&Topics::new("a.")).into_iter().map(|subject| subject.name).collect();
        assert_eq!(names.len(), codec::formats().len());
        assert!(names.contains(&"a.ops.metrics-value".to_owned()) && names.contains(&"a.ops.state-value".to_owned()));
    }
}
