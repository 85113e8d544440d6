//! Readings by the clock: a thread that emits for many services at a steady pace until it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fleet::{Fleet, now_ms};

/// A running load. Stopped when dropped.
pub struct Load {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Calls `emit` for each of `services` once a `pace`, with the place of the service in the list, its id, and
    /// the time in ms.
    pub fn start(
        fleet: &Arc<Fleet>,
        services: &[String],
        pace: Duration,
        mut emit: impl FnMut(&Fleet, usize, &str, i64) + Send + 'static,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (fleet, services, stop) = (fleet.clone(), services.to_vec(), stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let now = now_ms();
                for (place, service) in services.iter().enumerate() {
                    emit(&fleet, place, service, now);
                }
                // The pace is the point; a late round is not made up for.
                next = (next + pace).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            fleet.flush();
        });
        Self { stopped, thread: Some(thread) }
    }

    /// Stops, and waits until everything is acknowledged.
    pub fn stop(mut self) {
        assert!(self.join(), "the load failed");
    }

    /// Says whether all went well.
    fn join(&mut self) -> bool {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}
