//! What only tests switch on, by the cargo feature `torture`: points at which this process dies as by `kill -9`, and
//! guards that are taken away to show that the tests notice.
//!
//! Without the feature all of it is nothing: a point is an empty function, no guard can be taken away. Called by the
//! rooms that touch the world (workers, actors, bus, drivers), never by those that decide.
//!
//! | environment | means |
//! |---|---|
//! | `OPS_CRASH_AT=after_step:37` | dies when it reaches the point for the 37th time (without a number: the first) |
//! | `OPS_FREEZE_AT=after_step:37` | stands still there, as by SIGSTOP, until somebody lets it go on |
//! | `OPS_ABORT_EVERY=20` | gives every 20th transaction up as soon as its outputs are delivered |
//! | `OPS_SABOTAGE=offsets_outside_transaction` | goes on without that guard |

/// A macro, so that each name is written once.
macro_rules! named {
    ($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $enum { $($(#[$variant_doc])* $variant,)* }

        impl $enum {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written in the environment.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// Where a process can be made to die.
    Point {
        /// Processor: a record was polled, and not stepped.
        AfterPoll = "after_poll",
        /// Processor: the core was stepped, nothing of it is sent.
        AfterStep = "after_step",
        /// Processor: a transaction is ending, and what came of a record after it waits for the outcome.
        EffectsHeld = "effects_held",
        /// Processor: outputs are in the open transaction, delivered, without offsets.
        AfterProduce = "after_produce",
        /// The offsets are in the transaction, which is not committed.
        AfterSendOffsets = "after_send_offsets",
        /// The commit is sent; its answer is not awaited.
        CommitSent = "commit_sent",
        /// The commit is answered; nothing was done since.
        AfterCommit = "after_commit",
        /// Processor, taking over: the last owners are fenced, nothing is read.
        AfterFence = "after_fence",
        /// Processor, taking over: the cores stand where the last owners stopped, nothing is committed.
        AfterRestore = "after_restore",
        /// Processor, taking over: the offsets are committed under its own name, no output yet.
        AfterFirstCommit = "after_first_commit",
        /// Processor: everything is committed, the group waits for the partitions to be given up.
        RevokedCommitted = "revoked_committed",
        /// Processor: a transaction was given up, state and positions are dropped, nothing is restored.
        AfterRewind = "after_rewind",
        /// Actor: an intent is in the open transaction, which is not committed.
        ActorIntentWritten = "actor_intent_written",
        /// Actor: an intent is committed, its effect is not begun.
        ActorIntentCommitted = "actor_intent_committed",
        /// Actor: an intent is committed, and whoever carries it out is about to begin.
        ActorEffectBegins = "actor_effect_begins",
        /// Actor: an effect has ended, its outcome is not written.
        ActorEffectDone = "actor_effect_done",
        /// Pager: a page was not taken, and is about to be tried again.
        PagerTriesAgain = "pager_tries_again",
        /// Archiver: a partition is assigned and begun where the vault ends, no record was taken.
        ArchiverOpened = "archiver_opened",
        /// Archiver: a record is in the open segment.
        ArchiverTook = "archiver_took",
        /// Archiver: a segment is closed, nothing of it is written.
        SegmentClosed = "segment_closed",
        /// Archiver: a segment is durable, nothing was done since; its offsets are not committed.
        SegmentWritten = "segment_written",
    }
}

named! {
    /// A guard that can be taken away.
    Sabotage {
        /// Processor: a schema id that the registry has not explained yet is a dead letter.
        UnknownIdsRejected = "unknown_ids_rejected",
        /// Bus: a commit that the client calls abortable is followed by an abort, although it may be on its way.
        AbortAfterCommit = "abort_after_commit",
        /// Bus: a producer is used on although a request of its last transaction may still arrive.
        NoRecreate = "no_recreate",
        /// Processor: a record is consumed and noted nowhere.
        CountLost = "count_lost",
        /// Processor: outputs are committed without the offsets; those follow with the next commit, on their own.
        OffsetsOutsideTransaction = "offsets_outside_transaction",
        /// Processor: the consumer commits its positions by itself, outside of any transaction.
        AutoCommit = "auto_commit",
        /// Processor: the consumer reads what was aborted.
        ReadUncommittedInput = "read_uncommitted_input",
        /// Processor: forwards leave at once, by a plain producer.
        ForwardsOutsideTransaction = "forwards_outside_transaction",
        /// Processor: rejected readings go nowhere.
        DeadLettersDropped = "dead_letters_dropped",
        /// Processor: after an abort it goes on with the state and the positions that it has.
        NoRewind = "no_rewind",
        /// Processor: the records from the last cut to the committed offset are not stepped in a restore.
        RestoreWithoutReplay = "restore_without_replay",
        /// Processor: a restore reads no rollups.
        RestoreWithoutRollups = "restore_without_rollups",
        /// Processor: a transactional id of its own for each process, nobody is fenced, offsets carry no generation.
        NoFence = "no_fence",
        /// Processor: partitions that were lost are committed as if they were revoked.
        CommitLost = "commit_lost",
        /// Processor: records are appended when the host's clock says so.
        HostClock = "host_clock",
        /// Processor: every commit is a cut.
        DigestAtCommit = "digest_at_commit",
        /// Actor: takes a partition over without reading what was done.
        RestoreWithoutActions = "restore_without_actions",
        /// Actor: begins what a human stopped before its intent was committed.
        ActWhileFrozen = "act_while_frozen",
        /// Actor: does what was handed to a human without asking whether they approved it.
        ActUnapproved = "act_unapproved",
        /// Pager: pages about incidents that are over.
        ActOnHistory = "act_on_history",
        /// Autoscaler: what was begun before a crash is begun anew, whatever became of it.
        NoLookBeforeRetry = "no_look_before_retry",
        /// Autoscaler: a write says neither which object nor which version of it is meant.
        NoResourceVersion = "no_resource_version",
        /// Pager: what may have been sent is sent again without asking whether it is there.
        NoReadBack = "no_read_back",
        /// Pager: a page is tried on, whoever owns it by now.
        NoFindingOut = "no_finding_out",
        /// Archiver: commits offsets of segments that the vault has not taken.
        AcknowledgeBeforeDurable = "acknowledge_before_durable",
        /// Archiver: goes on where the group's offset says, not where the vault ends.
        ArchiveFromGroupOffset = "archive_from_group_offset",
        /// Vault: a segment is written over what is there.
        NoCreateIfAbsent = "no_create_if_absent",
        /// Receiver: a request is answered with success before the cluster has acknowledged it.
        AnswerBeforeAcknowledged = "answer_before_acknowledged",
    }
}

/// The process has come to `point`, and dies if it is to.
#[inline]
#[cfg_attr(not(feature = "torture"), allow(unused_variables))]
pub fn reached(point: Point) {
    #[cfg(feature = "torture")]
    armed::reached(point);
}

/// As [`reached`], but who is to die goes on for a moment (up to 7 ms, by its process id): what it just asked for is on
/// its way.
#[inline]
#[cfg_attr(not(feature = "torture"), allow(unused_variables))]
pub fn reached_with_a_moment_left(point: Point) {
    #[cfg(feature = "torture")]
    armed::reached_with_a_moment_left(point);
}

/// Is the open transaction to be given up?
#[inline]
pub fn is_to_abort() -> bool {
    #[cfg(feature = "torture")]
    return armed::is_to_abort();
    #[cfg(not(feature = "torture"))]
    false
}

/// Is this guard taken away?
#[inline]
#[cfg_attr(not(feature = "torture"), allow(unused_variables))]
pub fn is_without(guard: Sabotage) -> bool {
    #[cfg(feature = "torture")]
    return armed::is_without(guard);
    #[cfg(not(feature = "torture"))]
    false
}

/// What the environment of this process asks for.
#[cfg(feature = "torture")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Point, Sabotage};

    /// A point, and how often it is still passed, the last time included.
    struct Trap {
        variable: &'static str,
        set: OnceLock<Option<(Point, AtomicU64)>>,
    }

    static CRASH: Trap = Trap::new("OPS_CRASH_AT");
    static FREEZE: Trap = Trap::new("OPS_FREEZE_AT");

    const ABORT_EVERY: &str = "OPS_ABORT_EVERY";
    static EVERY: OnceLock<Option<u64>> = OnceLock::new();
    static TRANSACTIONS: AtomicU64 = AtomicU64::new(0);

    const SABOTAGE: &str = "OPS_SABOTAGE";
    static WITHOUT: OnceLock<Option<Sabotage>> = OnceLock::new();

    impl Trap {
        const fn new(variable: &'static str) -> Self {
            Self { variable, set: OnceLock::new() }
        }

        fn closes(&self, point: Point) -> bool {
            let Some((at, left)) = self.set.get_or_init(|| read(self.variable)) else { return false };
            *at == point && left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    pub fn reached(point: Point) {
        if CRASH.closes(point) {
            die();
        }
        if FREEZE.closes(point) {
            // SAFETY: a signal to ourselves; this thread stands still before the call returns, the others with it.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
    }

    pub fn reached_with_a_moment_left(point: Point) {
        if CRASH.closes(point) {
            let moment = Duration::from_millis(u64::from(std::process::id() % 8));
            std::thread::spawn(move || {
                std::thread::sleep(moment);
                die()
            });
        }
    }

    fn die() -> ! {
        // SAFETY: a signal to ourselves; nothing of this process runs after it.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        unreachable!("a process outlives its SIGKILL");
    }

    pub fn is_to_abort() -> bool {
        let every = EVERY.get_or_init(|| {
            let text = std::env::var(ABORT_EVERY).ok()?;
            Some(text.parse().unwrap_or_else(|error| panic!("{ABORT_EVERY}={text}: {error}")))
        });
        every.is_some_and(|every| (TRANSACTIONS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every))
    }

    pub fn is_without(guard: Sabotage) -> bool {
        let sabotage = || {
            let name = std::env::var(SABOTAGE).ok()?;
            Some(find(SABOTAGE, &name, Sabotage::ALL, Sabotage::name))
        };
        *WITHOUT.get_or_init(sabotage) == Some(guard)
    }

    fn read(variable: &str) -> Option<(Point, AtomicU64)> {
        let text = std::env::var(variable).ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        let point = find(variable, name, Point::ALL, Point::name);
        let times = times.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}"));
        Some((point, AtomicU64::new(times)))
    }

    /// A wrong name is a wrong test: it must not pass as one that was never reached.
    fn find<T: Copy>(variable: &str, name: &str, all: &[T], name_of: impl Fn(T) -> &'static str) -> T {
        let names: Vec<_> = all.iter().map(|one| name_of(*one)).collect();
        let place = names.iter().position(|known| *known == name);
        all[place.unwrap_or_else(|| panic!("{variable}={name}: no such name, there are {}", names.join(", ")))]
    }
}
