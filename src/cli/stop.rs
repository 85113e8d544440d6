//! Ctrl-C and SIGTERM: every service ends in order.

use std::cell::RefCell;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for either signal.
pub struct StopSignal {
    runtime: tokio::runtime::Runtime,
    /// Listen from the beginning: a signal that comes while the service is still starting is heard when it waits.
    signals: RefCell<(Signal, Signal)>,
}

impl StopSignal {
    /// From now on the signals no longer kill the process.
    ///
    /// # Errors
    /// No thread for it.
    pub fn install() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let signals = runtime.block_on(async { signals() })?;
        Ok(Self { runtime, signals: RefCell::new(signals) })
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
    use std::cell::Cell;

    use super::*;

    /// A process that is told to stop while it is still starting must not run for ever.
    #[test]
    fn a_signal_that_comes_before_anybody_waits_is_not_lost() {
        let stop = StopSignal::install().unwrap();
        let (_, mut witness) = stop.runtime.block_on(async { signals() }).unwrap();
        // SAFETY: a signal to ourselves, which is handled since the first line.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        stop.runtime.block_on(witness.recv());
        let looks = Cell::new(0);
        stop.wait_until(|| looks.replace(looks.get() + 1) == 50);
        assert!(looks.get() < 50, "nobody heard of it");
    }
}
