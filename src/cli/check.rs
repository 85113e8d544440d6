//! `ops check`: lints specs. Reads files, shows findings; what is right and wrong is decided in `spec`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::config::Config;
use crate::model::network::Networks;
use crate::spec::{self, Checked, Finding, Findings, Severity};

/// Checks specs: what is wrong, where, and what to write instead.
///
/// Prints the id of each good file on stdout and the findings on stderr. Warnings do not fail a file. Nothing is
/// published, no broker is needed.
///
/// Exit code: 0 if every file is good, 1 if one has an error, 2 if one cannot be read.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops check scanner.ops.yaml\n  ops check --explain scanner.ops.yaml\n  ops check --json services/*.ops.yaml | jq -r .message"
)]
pub struct Args {
    /// Specs (`*.ops.yaml`).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tell in plain words what will happen when, and which limits are assumed.
    #[arg(long)]
    explain: bool,
    /// Print findings on stdout, one JSON object a line, instead of ids and text.
    #[arg(long, conflicts_with = "explain")]
    json: bool,
    /// Configuration, for the networks that a scrape_url may lead to; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Checks every file; `Ok(false)` if one has an error.
pub fn run(args: Args) -> anyhow::Result<bool> {
    let colour = super::colour(&io::stderr());
    let networks = Config::load(args.config.as_deref())?.collect.allow;
    let mut all_good = true;
    let mut unreadable = None;
    for path in &args.files {
        match read(path) {
            Ok(bytes) => all_good &= check(path, &bytes, &args, &networks, colour)?,
            // The other files are still checked.
            Err(error) => {
                if let Some(earlier) = unreadable.replace(error) {
                    eprintln!("error: {earlier:#}");
                }
            }
        }
    }
    match unreadable {
        Some(error) => Err(error),
        None => Ok(all_good),
    }
}

/// The file's bytes, never much more than a spec may have.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(spec::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", spec::diagnose::harmless(&path.to_string_lossy())))?;
    Ok(bytes)
}

fn check(path: &Path, bytes: &[u8], args: &Args, networks: &Networks, colour: bool) -> anyhow::Result<bool> {
    let name = path.to_string_lossy();
    let (checked, findings) = match spec::lint_bytes(bytes, networks) {
        Ok(Checked { spec, warnings }) => (Some(spec), warnings),
        Err(Findings(findings)) => (None, findings),
    };
    let mut out = io::stdout().lock();
    let text = String::from_utf8_lossy(bytes);
    for finding in &findings {
        if args.json {
            writeln!(out, "{}", to_json(&name, finding))?;
        } else {
            eprint!("{}", spec::diagnose::render(&name, &text, finding, colour));
        }
    }
    match &checked {
        Some(spec) if args.explain => write!(out, "{}", spec::explain::explain(spec))?,
        Some(spec) if !args.json => writeln!(out, "{}", spec.id)?,
        _ => {}
    }
    Ok(checked.is_some())
}

fn to_json(file: &str, finding: &Finding) -> serde_json::Value {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "file": file,
        "severity": severity,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "help": finding.help,
    })
}
