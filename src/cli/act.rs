//! `ops act ...`: the actors as services, each a consumer group of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::actors::channel::Console;
use crate::actors::watch::Watch;
use crate::actors::{Actor, autoscaler, frame, guard, pager};
use crate::cli::act_archiver;
use crate::cli::config::Config;
use crate::cli::connect::Connect;
use crate::cli::metrics;
use crate::cli::stop::StopSignal;
use crate::world::kubernetes;

/// Carry out what is requested on ops.incidents; everything that is done stands on ops.actions.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    actor: Which,
}

#[derive(clap::Subcommand, Debug)]
enum Which {
    Autoscaler(Box<AutoscalerArgs>),
    Pager(PagerArgs),
    Archiver(act_archiver::Args),
}

/// What every actor of the frame is told.
#[derive(clap::Args, Debug)]
struct Common {
    #[command(flatten)]
    connect: Connect,
    /// Configuration; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this process in the group: unique, and the same after a restart.
    #[arg(long, env = "OPS_INSTANCE", default_value = "0")]
    instance: String,
}

impl Common {
    fn options(&self, group: String, dry_run: bool, runtime: tokio::runtime::Handle) -> anyhow::Result<frame::Options> {
        let (bus, topics) = self.connect.reach_by(&group, self.config.as_deref())?;
        Ok(frame::Options { bus, topics, group, instance: self.instance.clone(), dry_run, runtime })
    }
}

/// Scale workloads: the verbs scale_up, scale_down and scale.
///
/// A new group starts at the end of ops.incidents. What is asked for is guarded (limits, cool-down, budgets, age,
/// who owns the replicas), then done at most once: the API server refuses whatever is based on an older version.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops act autoscaler\n  ops act autoscaler --dry-run --context staging\n  ops act autoscaler --server http://127.0.0.1:8001"
)]
struct AutoscalerArgs {
    #[command(flatten)]
    common: Common,
    /// Consumer group [default: ops-autoscaler].
    #[arg(long, env = "OPS_AUTOSCALER_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// Kubeconfig file; else KUBECONFIG, ~/.kube/config or the pod's service account.
    #[arg(long, env = "OPS_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, for workloads that name none.
    #[arg(long, env = "OPS_KUBE_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// A plain http:// API without credentials, instead of a kubeconfig.
    #[arg(long, env = "OPS_KUBE_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Decide and say, but touch nothing.
    #[arg(long, env = "OPS_DRY_RUN")]
    dry_run: bool,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9466")]
    metrics: Option<SocketAddr>,
    /// How long what is handed to a human waits for their word.
    #[arg(long, env = "OPS_APPROVAL_SECONDS", default_value_t = 600, hide = true, value_name = "SECONDS")]
    approval_seconds: u32,
}

/// Page people: the verb page, to the channels of ops.toml; a channel that is not there is the console.
///
/// A new group starts at the end of ops.incidents. Pages wait for nothing and pass every guard. What was raised is
/// cleared when the incident is over, of a flapping episode when that is.
///
/// It watches the pipeline too: a partition whose clock stands still and an actor that answers nothing are paged to the
/// channel `default`; and as long as all clocks move it pings the address under [alive], where somebody else notices
/// when that stops.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  ops act pager --config ops.toml")]
struct PagerArgs {
    #[command(flatten)]
    common: Common,
    /// Consumer group [default: ops-pager].
    #[arg(long, env = "OPS_PAGER_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9467")]
    metrics: Option<SocketAddr>,
}

/// Runs an actor until it is told to stop.
///
/// # Errors
/// What the actor cannot mend by itself.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    match &args.actor {
        Which::Autoscaler(args) => run_autoscaler(args),
        Which::Pager(args) => run_pager(args),
        Which::Archiver(args) => act_archiver::run(args),
    }
}

fn run_autoscaler(args: &AutoscalerArgs) -> anyhow::Result<bool> {
    let config = Config::load(args.common.config.as_deref())?.autoscaler;
    let group = args.group.clone().or(config.group).unwrap_or_else(|| autoscaler::GROUP.to_owned());
    let clusters = kubernetes::Options {
        kubeconfig: args.kubeconfig.clone().or(config.kubeconfig),
        context: args.context.clone().or(config.context),
        server: args.server.clone().or(config.server),
    };
    let cool_down_ms = config.cool_down_seconds.map(|seconds| i64::from(seconds) * 1000);
    let approval_ms = i64::from(args.approval_seconds) * 1000;
    let guard = guard::Settings { cool_down_ms, approval_ms, ..guard::Settings::default() };
    let dry_run = args.dry_run || config.dry_run;
    serve(args.metrics, |runtime| {
        let frame = args.common.options(group, dry_run, runtime)?;
        Ok(autoscaler::start(autoscaler::Options { frame, clusters, guard })?)
    })
}

fn run_pager(args: &PagerArgs) -> anyhow::Result<bool> {
    let config = Config::load(args.common.config.as_deref())?;
    let channels = config.channels(Console::new(std::io::stdout()), |name| std::env::var(name).ok())?;
    let link = config.link()?;
    let group = args.group.clone().or(config.pager.group).unwrap_or_else(|| pager::GROUP.to_owned());
    let ping = config.alive.ping(|name| std::env::var(name).ok())?;
    serve(args.metrics, |runtime| {
        let frame = args.common.options(group, false, runtime)?;
        let watch = Watch::start(config.alive.watch(&frame, ping))?;
        Ok(pager::start_watching(pager::Options { frame, channels, link }, watch)?)
    })
}

/// Starts an actor, serves its numbers, and stops it in order when a signal comes.
fn serve(
    metrics: Option<SocketAddr>,
    start: impl FnOnce(tokio::runtime::Handle) -> anyhow::Result<Actor>,
) -> anyhow::Result<bool> {
    let stop = StopSignal::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let actor = start(runtime.handle().clone())?;
    let _server = metrics::serve(metrics, actor.counters().clone())?;
    stop.wait_until(|| actor.is_finished());
    actor.stop()?;
    Ok(true)
}
