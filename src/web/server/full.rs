//! What becomes of connections when all places are taken: each is told at once to come again, and let go. None waits for
//! ever, and however many come they take no task, no place and only a few file descriptors.
//!
//! A connection that is closed while what it sent is unread is reset, and a reset can overtake the answer. So it is kept
//! for a moment, and what it has sent by then is read and thrown away.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::web::problem::Problem;

/// So long a client has to send its head and to read the answer.
const MOMENT: Duration = Duration::from_secs(1);
/// So many are kept that long; if more come the oldest go sooner.
const KEPT: usize = 64;
/// File descriptors that are left to everything else: the bus, files, a client of ours.
const OTHERS: usize = 128;

/// Connections that were refused and are not let go yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Full {
    told: VecDeque<(TcpStream, Instant)>,
}

impl Full {
    /// Tells it that there is no place.
    pub(super) fn refuse(&mut self, stream: TcpStream) {
        let problem = Problem::unavailable("all connections of this server are in use");
        // Nothing was sent before, so all of it fits; whoever does not take it is gone.
        if let Err(error) = stream.try_write(problem.as_last_words().as_bytes()) {
            tracing::debug!(%error, "a connection was gone before it was refused");
            return;
        }
        if self.told.len() >= KEPT {
            self.end_oldest();
        }
        self.told.push_back((stream, Instant::now() + MOMENT));
    }

    /// Lets the oldest go when its time has come; waits for ever if there is none.
    pub(super) async fn let_go(&mut self) {
        match self.told.front() {
            Some((_, until)) => sleep_until(*until).await,
            None => std::future::pending().await,
        }
        self.end_oldest();
    }

    fn end_oldest(&mut self) {
        if let Some((stream, _)) = self.told.pop_front() {
            // An error, or nothing there: it is closed either way.
            let _ = stream.try_read(&mut [0; 16 * 1024]);
        }
    }
}

/// How many connections there can be: as many as are wanted, or as this process may have files. It is allowed to have as
/// many as it may allow itself first.
pub(super) fn places(wanted: usize) -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which lives here.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return wanted;
    }
    let needed = libc::rlim_t::try_from(wanted + KEPT + OTHERS).unwrap_or(libc::rlim_t::MAX);
    if limit.rlim_cur < needed {
        let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
        // SAFETY: the call reads one `rlimit`, which lives here.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit = raised;
        }
    }
    within(wanted, usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

fn within(wanted: usize, files: usize) -> usize {
    let places = wanted.min(files.saturating_sub(KEPT + OTHERS)).max(1);
    if places < wanted {
        tracing::warn!(wanted, places, files, "fewer connections than wanted: raise the limit of open files");
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_places_than_files() {
        assert_eq!(within(1_000, 100_000), 1_000);
        assert_eq!(within(1_000, 1_024), 1_024 - KEPT - OTHERS);
        assert_eq!(within(1_000, 10), 1);
    }
}
