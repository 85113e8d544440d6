//! What only tests switch on, by the cargo feature `torture`: points at which this process dies as by `kill -9`, and
//! guards that are taken away to show that the tests notice.
//!
//! Without the feature all of it is nothing: a point is an empty function, no guard can be taken away. Called by the
//! rooms that touch the world (workers, actors, bus, drivers), never by those that decide.
//!
//! | environment | means |
//! |---|---|
//! | `OPS_CRASH_AT=after_step:37` | dies when it reaches the point for the 37th time (without a number: the first) |
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
        /// Processor: outputs are in the open transaction, delivered, without offsets.
        AfterProduce = "after_produce",
        /// The offsets are in the transaction, which is not committed.
        AfterSendOffsets = "after_send_offsets",
        /// The commit is sent; its answer is not awaited.
        CommitSent = "commit_sent",
        /// The commit is answered; nothing was done since.
        AfterCommit = "after_commit",
    }
}

named! {
    /// A guard that can be taken away.
    Sabotage {
        /// Processor: a record is consumed and noted nowhere.
        CountLost = "count_lost",
        /// Processor: outputs are committed without the offsets; those follow with the next commit, on their own.
        OffsetsOutsideTransaction = "offsets_outside_transaction",
    }
}

/// The process has come to `point`, and dies if it is to.
#[inline]
#[cfg_attr(not(feature = "torture"), allow(unused_variables))]
pub fn reached(point: Point) {
    #[cfg(feature = "torture")]
    armed::reached(point);
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

    use super::{Point, Sabotage};

    const CRASH_AT: &str = "OPS_CRASH_AT";
    const SABOTAGE: &str = "OPS_SABOTAGE";

    /// The point and how often it is still passed, this time included.
    static CRASH: OnceLock<Option<(Point, AtomicU64)>> = OnceLock::new();
    static WITHOUT: OnceLock<Option<Sabotage>> = OnceLock::new();

    pub fn reached(point: Point) {
        let Some((at, left)) = CRASH.get_or_init(crash) else { return };
        if *at == point && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // SAFETY: a signal to ourselves; nothing of this process runs after it.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            unreachable!("a process outlives its SIGKILL");
        }
    }

    pub fn is_without(guard: Sabotage) -> bool {
        *WITHOUT.get_or_init(sabotage) == Some(guard)
    }

    fn crash() -> Option<(Point, AtomicU64)> {
        let text = std::env::var(CRASH_AT).ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        let point = find(CRASH_AT, name, Point::ALL, Point::name);
        let times = times.parse().unwrap_or_else(|error| panic!("{CRASH_AT}={text}: {error}"));
        Some((point, AtomicU64::new(times)))
    }

    fn sabotage() -> Option<Sabotage> {
        let name = std::env::var(SABOTAGE).ok()?;
        Some(find(SABOTAGE, &name, Sabotage::ALL, Sabotage::name))
    }

    /// A wrong name is a wrong test: it must not pass as one that was never reached.
    fn find<T: Copy>(variable: &str, name: &str, all: &[T], name_of: impl Fn(T) -> &'static str) -> T {
        let names: Vec<_> = all.iter().map(|one| name_of(*one)).collect();
        let place = names.iter().position(|known| *known == name);
        all[place.unwrap_or_else(|| panic!("{variable}={name}: no such name, there are {}", names.join(", ")))]
    }
}
