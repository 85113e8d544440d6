//! Ctrl-C and SIGTERM: every service ends in order.

use std::cell::RefCell;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for either signal. One that comes between [`Self::install`] and the wait counts too: a service that is told to
/// end while it starts ends.
pub struct StopSignal {
    runtime: tokio::runtime::Runtime,
    signals: RefCell<(Signal, Signal)>,
}

impl StopSignal {
    /// From now on the signals no longer kill the process.
    ///
    /// # Errors
    /// No thread for it.
    pub fn install() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Registers the handlers before anybody can be told that we are up.
        let signals = RefCell::new(runtime.block_on(async { signals() })?);
        Ok(Self { runtime, signals })
    }

    /// Returns when a signal comes, or when `finished` says so (looked at every 100 ms).
    pub fn wait_until(&self, finished: impl Fn() -> bool) {
        let (interrupt, terminate) = &mut *self.signals.borrow_mut();
        self.runtime.block_on(async {
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

fn signals() -> std::io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_signal_that_comes_before_the_wait_is_not_lost() {
        let stop = StopSignal::install().unwrap();
        // SAFETY: a signal to ourselves, which has a handler.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        let began = Instant::now();
        let patience = Duration::from_secs(60);
        stop.wait_until(|| began.elapsed() > patience);
        assert!(began.elapsed() < patience, "the signal was lost");
    }
}
