//! Log events go to stderr, one a line; stdout is for data.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Shows events from `default` on, or what the environment variable `OPS_LOG` says (`debug`, `hms_ops=trace`, ...).
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_env("OPS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_ansi(colour);
    // A line that cannot be written is lost. The subscriber would say so on stderr, which cannot be written either, and
    // that panics: a service whose log lies on a full disk would end over it.
    let subscriber = subscriber.log_internal_errors(false);
    // Already initialised: a test in this process has its own.
    let _ = subscriber.try_init();
}
