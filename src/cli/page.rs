//! `ops page test`: does a channel of `ops.toml` work?

use std::path::PathBuf;

use anyhow::bail;

use crate::actors::channel::Console;
use crate::actors::page::{Kind, Page};
use crate::cli::config::Config;
use crate::telemetry::clock::now_ms;
use crate::world::WorldError;

/// Try the channels of ops.toml.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Test(TestArgs),
}

/// Send a page that says that it is a test, and then its all-clear, so that no alert stays open.
///
/// Neither Kafka nor the pager is needed. Each is sent once. Exit code 0: taken, 1: not, or nobody can tell.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops page test tsa_ops\n  ops page test oncall --severity critical --config ops.toml"
)]
struct TestArgs {
    /// The channel's name in ops.toml.
    channel: String,
    /// Configuration; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the page says of itself.
    #[arg(long, default_value = "info", value_parser = ["critical", "error", "warning", "info"])]
    severity: String,
}

/// Runs the command.
///
/// # Errors
/// A configuration that makes no sense, a channel that is not in it.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let What::Test(args) = &args.what;
    let config = Config::load(args.config.as_deref())?;
    if !config.channels.contains_key(&args.channel) {
        let known: Vec<_> = config.channels.keys().map(String::as_str).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
        bail!("no channel {:?} is configured, {known}", args.channel);
    }
    let link = config.link()?;
    let channels = config.channels(Console::new(std::io::stdout()), |name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let at_ms = now_ms();
    let (mut before, mut all_taken) = (None, true);
    for kind in [Kind::Page, Kind::Clear] {
        let mut page = Page::test(kind, &args.channel, &args.severity, at_ms);
        page.link = link.clone();
        page.thread.slack = before.take();
        let what = if kind == Kind::Page { "test page" } else { "its all-clear" };
        match runtime.block_on(channels.send(&page)) {
            Ok(detail) => {
                let told: Vec<_> = detail.iter().map(|(name, text)| format!("{name} {text}")).collect();
                println!("{what}: taken by {} ({})", args.channel, told.join(", "));
                before = detail.get("slack_channel").cloned().zip(detail.get("thread").cloned());
            }
            Err(error) => {
                eprintln!("{what}: not taken by {}: {error}", args.channel);
                all_taken = false;
                // If it may have been taken all the same, its alert must not stay open.
                if !matches!(error, WorldError::Unknown { .. }) {
                    break;
                }
            }
        }
    }
    Ok(all_taken)
}
