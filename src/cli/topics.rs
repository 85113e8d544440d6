//! `ops topics apply|diff`: topics as code. Reads topic files and the cluster, shows or mends the difference; what
//! a difference is, is decided in `model::topic_files`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;

use super::connect::Connect;
use crate::bus::{Admin, TopicSpec};
use crate::model::topic_files::{self, Actual, Difference, Overrides, Topic, differences};
use crate::registry::Client;
use crate::registry::subjects::{self, subjects};

/// Makes the topics of the cluster as they are declared, or shows where they differ.
///
/// Exit code: 0 if the cluster is (now) as declared, 1 if it differs, 2 if that cannot be told.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops topics diff\n  ops topics apply --partitions 4\n  ops topics apply --dir topics --replication 3"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do about differences.
#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Makes missing topics and sets settings. Changes nothing at all if a number of partitions or copies differs.
    Apply(Options),
    /// Shows where the cluster differs, a line each, and changes nothing.
    Diff(Options),
}

#[derive(clap::Args, Debug)]
struct Options {
    /// Topic files (*.yaml) to use instead of those that come with the program.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Partitions of every topic, instead of what the files say. Fixed for life.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of each partition, instead of what the files say.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication: Option<i32>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Runs the command; `Ok(false)` if the cluster differs from what is declared.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (Command::Apply(options) | Command::Diff(options)) = &args.command;
    let prefix = options.connect.topic_prefix.clone();
    let overrides = Overrides { prefix, partitions: options.partitions, replication: options.replication };
    let topics = match &options.dir {
        Some(dir) => from_directory(dir, &overrides)?,
        None => topic_files::declared(&overrides),
    };
    let (settings, names) = options.connect.reach_cluster("ops-topics")?;
    let admin = Admin::new(&settings)?;
    let actual = describe(&admin, &topics)?;
    let found = differences(&topics, &actual);
    let registry = options.connect.registry(None)?.map(|access| Client::new(&access)).transpose()?;
    let subjects = registry.as_ref().map_or_else(Vec::new, |_| subjects(&names));
    let schemas = registry.as_ref().map_or(Ok(Vec::new()), |client| subjects::differences(client, &subjects))?;
    let show_all = || {
        found.iter().for_each(|(topic, difference)| show(options.json, "topic", topic, difference));
        schemas.iter().for_each(|(subject, difference)| show(options.json, "subject", subject, difference));
    };
    match args.command {
        Command::Diff(_) => {
            show_all();
            Ok(found.is_empty() && schemas.is_empty())
        }
        Command::Apply(_) => {
            if refuse(&found) {
                return Ok(false);
            }
            // Before anything is published by them, and before there is a topic to publish to.
            let refused = registry.as_ref().map_or(Ok(Vec::new()), |client| subjects::apply(client, &subjects))?;
            if !refused.is_empty() {
                refused.iter().for_each(|(subject, difference)| eprintln!("refused: {subject} {difference}"));
                return Ok(false);
            }
            apply(&admin, &topics, &actual, &found)?;
            show_all();
            let mended = if found.is_empty() && schemas.is_empty() { "nothing to do" } else { "mended" };
            eprintln!("{mended}: {} topics and {} subjects are as declared", topics.len(), subjects.len());
            Ok(true)
        }
    }
}

/// Reads every `*.yaml` of a directory, by name.
fn from_directory(dir: &Path, overrides: &Overrides) -> anyhow::Result<Vec<Topic>> {
    let reading = || format!("reading topic files of {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
    }
    if files.is_empty() {
        bail!("no topic file (*.yaml) in {}", dir.display());
    }
    files.sort();
    Ok(topic_files::parse(files.iter().map(|(file, text)| (file.as_str(), text.as_str())), overrides)?)
}

/// What the cluster has of the declared topics.
fn describe(admin: &Admin, topics: &[Topic]) -> Result<BTreeMap<String, Actual>, crate::bus::Error> {
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let states = admin.describe_topics(&names)?.into_iter();
    let states = states.filter_map(|(name, state)| {
        let state = state?;
        let (partitions, replication) = (state.partitions, state.replication);
        Some((name, Actual { partitions, replication, config: state.configs }))
    });
    Ok(states.collect())
}

/// Says what cannot be mended, and each advice once. Is there any?
fn refuse(found: &[(String, Difference)]) -> bool {
    let mut advices = BTreeSet::new();
    for (topic, difference) in found {
        if let Some(advice) = difference.advice() {
            eprintln!("refused: {topic} {difference}");
            advices.insert(advice);
        }
    }
    advices.iter().for_each(|advice| eprintln!("{advice}"));
    !advices.is_empty()
}

/// Mends every difference; those that cannot be mended were refused before.
fn apply(
    admin: &Admin,
    topics: &[Topic],
    actual: &BTreeMap<String, Actual>,
    found: &[(String, Difference)],
) -> Result<(), crate::bus::Error> {
    for topic in topics.iter().filter(|topic| found.iter().any(|(name, _)| *name == topic.name)) {
        match actual.get(&topic.name) {
            None => {
                admin.create_topic(&TopicSpec::from(topic))?;
            }
            Some(actual) => {
                // What is set and not declared stays: the cluster takes the whole configuration at once.
                let mut config = actual.config.clone();
                config.extend(topic.config.clone());
                admin.set_topic_configs(&topic.name, &config)?;
            }
        }
    }
    Ok(())
}

fn show(as_json: bool, kind: &str, name: &str, difference: &(impl Serialize + Display)) {
    if as_json {
        let mut line = json!(difference);
        line[kind] = json!(name);
        println!("{line}");
    } else {
        println!("{name} {difference}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_the_programs_own_files_declares_the_same() {
        let overrides = Overrides { partitions: Some(3), ..Overrides::default() };
        let mut declared = topic_files::declared(&overrides);
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("topics");
        let mut read = from_directory(&dir, &overrides).unwrap();
        read.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read, declared);
    }

    #[test]
    fn a_directory_without_topic_files_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("readme.md"), "").unwrap();
        let error = from_directory(dir.path(), &Overrides::default()).unwrap_err().to_string();
        assert!(error.starts_with("no topic file"), "{error}");
    }
}
