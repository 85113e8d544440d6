//! Is this still the process that it was? A fork copies the memory and one thread: locks may be held by threads that the
//! child does not have, and a Kafka client is dead without its threads. The C library tells of every fork; a look at the
//! number of the process would cost a system call for each reading.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many forks lie between this process and the one that called [`watch`] first.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// From now on forks are counted. Further calls do nothing.
pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is allowed in a child that was forked among threads.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(count)) };
        assert_eq!(refused, 0, "no memory to watch for forks");
    });
}

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Differs between a process and its forked children.
pub(super) fn process() -> u64 {
    FORKS.load(Ordering::Relaxed)
}
