//! Ctrl-C and SIGTERM: every service ends in order.

use std::time::Duration;

/// Waits for either signal.
pub struct StopSignal(tokio::runtime::Runtime);

impl StopSignal {
    /// From now on the signals no longer kill the process.
    ///
    /// # Errors
    /// No thread for it.
    pub fn install() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Registers the handlers before anybody can be told that we are up.
        runtime.block_on(async { signals().map(drop) })?;
        Ok(Self(runtime))
    }

    /// Returns when a signal comes, or when `finished` says so (looked at every 100 ms).
    pub fn wait_until(&self, finished: impl Fn() -> bool) {
        self.0.block_on(async {
            let Ok((mut interrupt, mut terminate)) = signals() else { return };
            let mut look = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    _ = interrupt.recv() => return,
                    _ = terminate.recv() => return,
                    _ = look.tick() => if finished() { return },
                }
            }
        });
    }
}

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}
