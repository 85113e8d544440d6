//! `ops register`: a spec from a file onto the bus. What registering is, is in `sdk::register`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::check;
use super::config::Config;
use super::connect::Connect;
use crate::sdk::register::{Change, Options};
use crate::sdk::{self, Activation, Error, Registered};
use crate::spec::{self, Finding, Findings, diagnose};

/// Registers a service: checks its spec, publishes it, and waits until the processor judges by it.
///
/// Prints the service's id on stdout. The same text again changes nothing. A spec of another owner's service is
/// refused without --force.
///
/// Exit code: 0 if the spec is registered (also while no processor runs; it is told), 1 if it is refused and nothing
/// was published, 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  ops register scanner.ops.yaml\n  ops register --dry-run scanner.ops.yaml")]
pub struct Args {
    /// The spec (`*.ops.yaml`).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what would be done; publish nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take over a service that belongs to another owner.
    #[arg(long)]
    force: bool,
    /// Configuration, for the networks that a scrape_url may lead to; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    connect: Connect,
}

/// How long to wait for the processor.
#[derive(clap::Args, Debug)]
pub struct Wait {
    /// Do not wait for the processor.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the processor.
    #[arg(long = "wait", value_name = "SECONDS", default_value_t = sdk::register::DEFAULT_WAIT.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600), conflicts_with = "no_wait")]
    seconds: u64,
}

impl Wait {
    /// `None` is not at all.
    pub fn timeout(&self) -> Option<Duration> {
        (!self.no_wait).then(|| Duration::from_secs(self.seconds))
    }
}

/// Registers; `Ok(false)` if the spec is refused.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let bytes = check::read(&args.file)?;
    let name = args.file.to_string_lossy();
    let text = String::from_utf8_lossy(&bytes);
    let show = |findings: &[Finding]| {
        let colour = super::colour(&io::stderr());
        findings.iter().for_each(|finding| eprint!("{}", diagnose::render(&name, &text, finding, colour)));
    };
    let networks = Config::load(args.config.as_deref())?.collect.allow;
    // Before the cluster is asked: a bad spec needs none.
    match spec::lint_bytes(&bytes, &networks) {
        Ok(checked) => show(&checked.warnings),
        Err(Findings(findings)) => {
            show(&findings);
            return Ok(false);
        }
    }
    let (settings, topics) = args.connect.reach("ops-register")?;
    let by = std::env::var("USER").unwrap_or_default();
    let options = Options { force: args.force, dry_run: args.dry_run, wait: args.wait.timeout(), by, networks };
    match sdk::register(&settings, &topics, &text, &options) {
        Ok(registered) => {
            println!("{}", registered.id);
            eprintln!("{}", story(&registered, args.dry_run));
            Ok(true)
        }
        Err(error @ Error::OtherOwner { .. }) => {
            eprintln!("refused: {error}; --force takes the service over");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// What was done, for people.
fn story(registered: &Registered, dry_run: bool) -> String {
    let did = match (registered.change, dry_run) {
        (Change::New, false) => "registered",
        (Change::Replaced, false) => "registered, in place of another spec",
        (Change::Unchanged, false) => "this spec was registered before",
        (Change::New, true) => "would be registered as a new service",
        (Change::Replaced, true) => "would take the place of another spec",
        (Change::Unchanged, true) => "this spec is registered; nothing to do",
    };
    if dry_run {
        return format!("{}: {did}", registered.id);
    }
    format!("{}: {did}; {}", registered.id, answer(registered.activation))
}

/// What the processor said, for people.
pub fn answer(activation: Activation) -> &'static str {
    match activation {
        Activation::Done => "the processor has taken it up",
        Activation::Already => "the processor judges by it",
        Activation::NotAwaited => "the processor was not waited for",
        Activation::NotSeen => {
            "no processor has taken it up yet: does `ops process` run? It will find the record when it starts"
        }
    }
}
