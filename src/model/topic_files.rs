//! Topics as code: what `topics/*.yaml` declares, and how a cluster differs from it.
//!
//! Pure: files and clusters are read by `cli::topics`, the demo and the tests, which all make the same topics.
//! Their names alone are [`super::topics`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Topics that have the partitions of `ops.metrics`: what comes from partition p goes to partition p.
const CO_PARTITIONED: [&str; 6] =
    ["ops.metrics", "ops.incidents", "ops.rollups", "ops.state", "ops.metrics.rejected", "ops.actions"];

/// One file of `topics/`. Keys that are not known are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Name on the cluster.
    pub name: String,
    /// What is in it, for people.
    pub carries: String,
    /// What its records are keyed by, for people.
    pub key: String,
    /// Who may write it, for people.
    pub written_by: Vec<String>,
    /// Who reads it, for people.
    pub read_by: Vec<String>,
    /// Number of partitions; fixed for life.
    pub partitions: i32,
    /// Copies of each partition; more on a cluster is no difference.
    pub replication: i32,
    /// Kafka's settings of the topic, by Kafka's names.
    #[serde(deserialize_with = "texts")]
    pub config: BTreeMap<String, String>,
}

/// What a cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each partition.
    pub replication: i32,
    /// The settings in force, defaults included.
    pub config: BTreeMap<String, String>,
}

/// Why topic files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML, or not the fields of a topic.
    #[error("topic file {file} cannot be read")]
    File {
        /// Which.
        file: String,
        /// Line, column and what is wrong.
        source: serde_yaml::Error,
    },
    /// Each file is right and together they are not.
    #[error("topic {topic}: {reason}")]
    Set {
        /// Which.
        topic: String,
        /// What is wrong.
        reason: String,
    },
}

/// Overrides of what the files say, for small, large and shared clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Goes before every name; empty for none.
    pub prefix: String,
    /// Of every topic.
    pub partitions: Option<i32>,
    /// Of every topic.
    pub replication: Option<i32>,
}

/// The topics that come with the program, in the order in which they are made.
///
/// # Panics
/// If a file of `topics/` is wrong: they are part of the program.
pub fn declared(overrides: &Overrides) -> Vec<Topic> {
    macro_rules! files {
        ($($name:literal),*) => { [$(($name, include_str!(concat!("../../topics/", $name, ".yaml")))),*] };
    }
    let files = files!(
        "ops.metrics",
        "ops.services",
        "ops.incidents",
        "ops.rollups",
        "ops.state",
        "ops.metrics.rejected",
        "ops.actions",
        "ops.targets"
    );
    parse(files, overrides).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads topic files, given as name and text, and checks that they fit together.
pub fn parse<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    overrides: &Overrides,
) -> Result<Vec<Topic>, Error> {
    let mut topics = Vec::new();
    for (file, text) in files {
        let mut topic: Topic =
            serde_yaml::from_str(text).map_err(|source| Error::File { file: file.to_owned(), source })?;
        topic.partitions = overrides.partitions.unwrap_or(topic.partitions);
        topic.replication = overrides.replication.unwrap_or(topic.replication);
        topics.push(topic);
    }
    check(&topics)?;
    topics.iter_mut().for_each(|topic| topic.name.insert_str(0, &overrides.prefix));
    Ok(topics)
}

/// What one file cannot know: the rules that hold between topics.
fn check(topics: &[Topic]) -> Result<(), Error> {
    let refuse = |topic: &Topic, reason: String| Err(Error::Set { topic: topic.name.clone(), reason });
    let metrics = topics.iter().find(|topic| topic.name == "ops.metrics");
    for (place, topic) in topics.iter().enumerate() {
        if topic.partitions < 1 || topic.replication < 1 {
            return refuse(topic, "partitions and replication are at least 1".to_owned());
        }
        if topics[..place].iter().any(|other| other.name == topic.name) {
            return refuse(topic, "declared twice".to_owned());
        }
        let Some(metrics) = metrics else { continue };
        if CO_PARTITIONED.contains(&topic.name.as_str()) && topic.partitions != metrics.partitions {
            let (has, needs) = (topic.partitions, metrics.partitions);
            return refuse(topic, format!("has {has} partitions, but must have the {needs} of ops.metrics"));
        }
        let horizon = match topic.name.as_str() {
            "ops.rollups" => "retention.ms",
            "ops.state" => "min.compaction.lag.ms",
            _ => continue,
        };
        if age(topic, horizon) < age(metrics, "retention.ms") {
            return refuse(topic, format!("{horizon} is shorter than retention.ms of ops.metrics"));
        }
    }
    Ok(())
}

/// A setting in ms; -1 is for ever, and so is none or what is no number (the cluster will say so).
fn age(topic: &Topic, setting: &str) -> i64 {
    let ms = topic.config.get(setting).and_then(|text| text.parse().ok());
    ms.filter(|ms| *ms >= 0).unwrap_or(i64::MAX)
}

/// One way in which a cluster differs from what is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// The topic is not there; `apply` makes it.
    Missing,
    /// A setting has another value; `apply` sets it.
    Config {
        /// Kafka's name of it.
        setting: String,
        /// What it should be.
        declared: String,
        /// What it is.
        actual: Option<String>,
    },
    /// Another number of partitions; `apply` refuses.
    Partitions {
        /// What it should be.
        declared: i32,
        /// What it is.
        actual: i32,
    },
    /// Fewer copies; `apply` refuses.
    Replication {
        /// What it should be.
        declared: i32,
        /// What it is.
        actual: i32,
    },
}

impl Difference {
    /// What the user can do where `apply` can do nothing.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Missing | Self::Config { .. } => None,
            Self::Partitions { declared, actual } => Some(format!(
                "the number of partitions is fixed for life: where a service lives follows from it. To keep {actual}, \
                 say --partitions {actual}. To move to {declared}, make the topics on another cluster with \
                 --partitions {declared}, register the specs there, and let producers and services change over; \
                 the history stays readable here"
            )),
            Self::Replication { actual, .. } => Some(format!(
                "kafka-reassign-partitions.sh changes the number of copies. To keep {actual}, say --replication {actual}"
            )),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Config { setting, declared, actual } => {
                let actual = actual.as_deref().unwrap_or("unset");
                write!(f, "{setting} is {actual}, declared {declared}")
            }
            Self::Partitions { declared, actual } => write!(f, "has {actual} partitions, declared {declared}"),
            Self::Replication { declared, actual } => write!(f, "has {actual} copies, declared {declared}"),
        }
    }
}

/// How a cluster, given by topic name, differs from what is declared. Settings that are not declared are free.
pub fn differences(declared: &[Topic], actual: &BTreeMap<String, Actual>) -> Vec<(String, Difference)> {
    let mut found = Vec::new();
    for topic in declared {
        let mut push = |difference| found.push((topic.name.clone(), difference));
        let Some(actual) = actual.get(&topic.name) else {
            push(Difference::Missing);
            continue;
        };
        if actual.partitions != topic.partitions {
            push(Difference::Partitions { declared: topic.partitions, actual: actual.partitions });
        }
        if actual.replication < topic.replication {
            push(Difference::Replication { declared: topic.replication, actual: actual.replication });
        }
        for (setting, value) in &topic.config {
            let actual = actual.config.get(setting);
            if actual != Some(value) {
                push(Difference::Config { setting: setting.clone(), declared: value.clone(), actual: actual.cloned() });
            }
        }
    }
    found
}

/// Settings are text for Kafka; in YAML they may be numbers.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number, true, false or a text")]
    enum Scalar {
        Number(i64),
        Bool(bool),
        Text(String),
    }
    let scalars = BTreeMap::<String, Scalar>::deserialize(from)?;
    Ok(scalars
        .into_iter()
        .map(|(name, scalar)| match scalar {
            Scalar::Number(number) => (name, number.to_string()),
            Scalar::Bool(yes) => (name, yes.to_string()),
            Scalar::Text(text) => (name, text),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::topics::Topics;

    fn cluster(topics: &[Topic]) -> BTreeMap<String, Actual> {
        topics
            .iter()
            .map(|topic| {
                let mut config = topic.config.clone();
                config.insert("flush.ms".to_owned(), "9223372036854775807".to_owned());
                let actual = Actual { partitions: topic.partitions, replication: topic.replication, config };
                (topic.name.clone(), actual)
            })
            .collect()
    }

    #[test]
    fn the_declared_topics_fit_together_and_stamp_append_time() {
        let topics = declared(&Overrides::default());
        assert_eq!(topics.len(), 8);
        for topic in &topics {
            assert_eq!((topic.partitions, topic.replication), (12, 1), "{}", topic.name);
            assert_eq!(topic.config["message.timestamp.type"], "LogAppendTime", "{}", topic.name);
        }
        let small = declared(&Overrides { partitions: Some(4), replication: Some(3), ..Overrides::default() });
        assert!(small.iter().all(|topic| (topic.partitions, topic.replication) == (4, 3)));
    }

    #[test]
    fn the_declared_topics_are_those_that_the_program_names() {
        let overrides = Overrides { prefix: "test-1.".to_owned(), ..Overrides::default() };
        let names: Vec<_> = declared(&overrides).into_iter().map(|topic| topic.name).collect();
        let of = Topics::new("test-1.");
        let expected =
            [of.metrics, of.services, of.incidents, of.rollups, of.state, of.rejected, of.actions, of.targets];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_cluster_made_as_declared_does_not_differ() {
        let topics = declared(&Overrides::default());
        assert_eq!(differences(&topics, &cluster(&topics)), []);
        let mut more_copies = cluster(&topics);
        more_copies.values_mut().for_each(|topic| topic.replication = 3);
        assert_eq!(differences(&topics, &more_copies), []);
    }

    #[test]
    fn every_difference_is_named_and_partitions_are_refused() {
        let topics = declared(&Overrides { replication: Some(2), ..Overrides::default() });
        let mut cluster = cluster(&topics);
        cluster.remove("ops.actions");
        let metrics = cluster.get_mut("ops.metrics").unwrap();
        (metrics.partitions, metrics.replication) = (6, 1);
        metrics.config.insert("retention.ms".to_owned(), "1000".to_owned());
        cluster.get_mut("ops.state").unwrap().config.remove("cleanup.policy");
        let config = |setting: &str, declared: &str, actual: Option<&str>| Difference::Config {
            setting: setting.to_owned(),
            declared: declared.to_owned(),
            actual: actual.map(str::to_owned),
        };
        let expected = [
            ("ops.metrics", Difference::Partitions { declared: 12, actual: 6 }),
            ("ops.metrics", Difference::Replication { declared: 2, actual: 1 }),
            ("ops.metrics", config("retention.ms", "604800000", Some("1000"))),
            ("ops.state", config("cleanup.policy", "compact", None)),
            ("ops.actions", Difference::Missing),
        ];
        let found = differences(&topics, &cluster);
        assert_eq!(found, expected.map(|(name, difference)| (name.to_owned(), difference)));
        let refused: Vec<_> = found.iter().map(|(_, difference)| difference.advice().is_some()).collect();
        assert_eq!(refused, [true, true, false, false, false]);
        assert_eq!(found[0].1.to_string(), "has 6 partitions, declared 12");
        assert!(found[0].1.advice().unwrap().contains("To move to 12"));
    }

    const FILE: &str = "{name: t, carries: c, key: k, written_by: [], read_by: [], partitions: 1, replication: 1,
                         config: {retention.ms: 1, preallocate: true}}";

    #[test]
    fn keys_that_nobody_knows_are_errors_with_their_place() {
        assert!(parse([("f", FILE)], &Overrides::default()).is_ok());
        let error = parse([("f", &*FILE.replace("key:", "kee:"))], &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), "topic file f cannot be read");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("kee") && source.contains("line 1"), "{source}");
        let nested = FILE.replace("retention.ms: 1", "retention.ms: [1]");
        assert!(parse([("f", &*nested)], &Overrides::default()).is_err());
    }

    #[test]
    fn files_that_contradict_each_other_are_refused() {
        let name = |name: &str| FILE.replace("name: t", &format!("name: {name}"));
        let of = |files: [&str; 2]| parse(files.map(|text| ("f", text)), &Overrides::default()).map(|_| ());
        let metrics = name("ops.metrics");
        let reason = |other: &str| of([other, &metrics]).unwrap_err().to_string();
        assert_eq!(reason(&metrics), "topic ops.metrics: declared twice");
        let two = name("ops.state").replace("partitions: 1", "partitions: 2");
        assert_eq!(reason(&two), "topic ops.state: has 2 partitions, but must have the 1 of ops.metrics");
        let short = name("ops.rollups").replace("retention.ms: 1", "retention.ms: 0");
        assert_eq!(reason(&short), "topic ops.rollups: retention.ms is shorter than retention.ms of ops.metrics");
        assert!(of([&name("ops.rollups").replace("retention.ms: 1", "retention.ms: -1"), &metrics]).is_ok());
        let none = name("t").replace("partitions: 1", "partitions: 0");
        assert_eq!(reason(&none), "topic t: partitions and replication are at least 1");
    }
}
