//! Which collectors are alive, and which partitions nobody scrapes. Pure: when something was heard is an argument.
//! Asked by [`super::member`].
//!
//! The group gives a partition to another only some seconds after its owner has died (the session), and when an owner
//! leaves in order it waits as long, in case it comes back. Targets cannot wait so long. So every collector says once a
//! second what it has, and what nobody has had for [`SILENCE`] is *adopted* by one of those who are alive, until
//! somebody is given it. Which one, all find out alike. If they disagree for a moment, because one has heard what
//! another has not yet, a target is scraped twice for that moment, never not at all.
//!
//! ```text
//! owned by A --A is silent--> nobody's --2.5 s--> adopted by B --the group gives it to C, C says so--> owned by C
//!            --A says that it leaves-----------> adopted by B
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Who was not heard for so long is not there: two beats may be lost.
pub const SILENCE: Duration = Duration::from_millis(2_500);

/// What was last heard of a collector.
#[derive(Debug, Default)]
struct Heard {
    at: Duration,
    owned: BTreeSet<i32>,
    adopted: BTreeSet<i32>,
}

/// See the module. Times are since any fixed moment.
#[derive(Debug)]
pub struct Roster {
    me: String,
    heard: BTreeMap<String, Heard>,
    /// When each partition was last somebody's; those that are not here never were.
    had: BTreeMap<i32, Duration>,
    /// Since when we listen: before, others may have spoken.
    since: Duration,
}

impl Roster {
    /// The roster of a collector that begins to listen.
    pub fn new(me: &str, now: Duration) -> Self {
        Self { me: me.to_owned(), heard: BTreeMap::new(), had: BTreeMap::new(), since: now }
    }

    /// A collector, perhaps we, said what it has.
    pub fn hear(&mut self, collector: &str, owned: &[i32], adopted: &[i32], now: Duration) {
        for partition in owned.iter().chain(adopted) {
            self.had.insert(*partition, now);
        }
        let heard =
            Heard { at: now, owned: owned.iter().copied().collect(), adopted: adopted.iter().copied().collect() };
        self.heard.insert(collector.to_owned(), heard);
    }

    /// A collector said that it leaves: what it had is nobody's at once.
    pub fn left(&mut self, collector: &str) {
        let Some(heard) = self.heard.remove(collector) else { return };
        for partition in heard.owned.iter().chain(&heard.adopted) {
            self.had.remove(partition);
        }
    }

    /// The partitions of `0..count` that we should scrape although the group has not given them to us. `owned` are
    /// those that it has.
    pub fn adopted(&self, owned: &BTreeSet<i32>, count: i32, now: Duration) -> BTreeSet<i32> {
        let is_alive = |heard: &Heard| now.saturating_sub(heard.at) < SILENCE;
        // Who does not hear himself cannot tell whether others are silent or he is deaf.
        if !self.heard.get(&self.me).is_some_and(is_alive) {
            return BTreeSet::new();
        }
        let others = || self.heard.iter().filter(|(name, heard)| **name != self.me && is_alive(heard));
        let alive: Vec<&str> = others().map(|(name, _)| name.as_str()).chain([&*self.me]).collect();
        let ours = |partition: &i32| {
            let is_owned = owned.contains(partition) || others().any(|(_, heard)| heard.owned.contains(partition));
            let mut rivals = others().filter(|(_, heard)| heard.adopted.contains(partition));
            if is_owned {
                false
            } else if self.heard.get(&self.me).is_some_and(|me| me.adopted.contains(partition)) {
                // Kept until somebody is given it, whoever else comes; of two that keep it, one does.
                !rivals.any(|(name, _)| weight(*partition, name) > weight(*partition, &self.me))
            } else {
                let last = self.had.get(partition).copied().unwrap_or(Duration::ZERO).max(self.since);
                let is_nobodys = now.saturating_sub(last) >= SILENCE || self.is_given_up(*partition);
                let best = alive.iter().max_by_key(|name| weight(*partition, name));
                is_nobodys && rivals.next().is_none() && best == Some(&&*self.me)
            }
        };
        (0..count).filter(ours).collect()
    }

    /// Nobody has it any more because who had it has said so, and we have listened long enough to know.
    fn is_given_up(&self, partition: i32) -> bool {
        !self.had.contains_key(&partition) && self.heard.get(&self.me).is_some_and(|me| me.at >= self.since + SILENCE)
    }
}

/// The one with the largest takes it: who comes or goes changes nothing for the partitions of the others.
fn weight(partition: i32, name: &str) -> [u8; 32] {
    Sha256::digest(format!("{partition}\n{name}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: i32 = 12;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn all() -> BTreeSet<i32> {
        (0..COUNT).collect()
    }

    fn set(partitions: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
        partitions.into_iter().collect()
    }

    /// A and B share the partitions; B is asked.
    fn two() -> Roster {
        let mut roster = Roster::new("b", ms(0));
        for at in [1_000, 2_000, 3_000, 4_000] {
            roster.hear("a", &[0, 1, 2, 3, 4, 5], &[], ms(at));
            roster.hear("b", &[6, 7, 8, 9, 10, 11], &[], ms(at));
        }
        roster
    }

    #[test]
    fn what_somebody_has_is_adopted_by_nobody() {
        assert_eq!(two().adopted(&set(6..12), COUNT, ms(4_500)), set([]));
    }

    #[test]
    fn what_a_silent_one_had_is_adopted_until_somebody_has_it() {
        let mut roster = two();
        roster.hear("b", &[6, 7, 8, 9, 10, 11], &[], ms(6_000));
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(6_499)), set([]), "it may have been late");
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(6_500)), set(0..6));
        roster.hear("b", &[6, 7, 8, 9, 10, 11], &[0, 1, 2, 3, 4, 5], ms(6_600));
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(6_700)), set(0..6), "and kept");
        roster.hear("c", &[0, 1, 2], &[], ms(6_800));
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(6_900)), set(3..6));
        assert_eq!(roster.adopted(&all(), COUNT, ms(6_900)), set([]), "the group gave us the rest");
        roster.hear("a", &[0, 1, 2, 3, 4, 5], &[], ms(7_000));
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(7_100)), set([]), "it was only asleep");
    }

    #[test]
    fn what_one_that_leaves_had_is_adopted_at_once() {
        let mut roster = two();
        roster.left("a");
        assert_eq!(roster.adopted(&set(6..12), COUNT, ms(4_001)), set(0..6));
    }

    #[test]
    fn what_is_nobodys_is_adopted_by_exactly_one() {
        let names = ["a", "b", "c"];
        let adopted = names.map(|me| {
            let mut roster = Roster::new(me, ms(0));
            names.iter().for_each(|name| roster.hear(name, &[], &[], ms(3_000)));
            roster.adopted(&set([]), COUNT, ms(3_100))
        });
        let mut union: Vec<i32> = adopted.iter().flatten().copied().collect();
        union.sort_unstable();
        assert_eq!(union, (0..COUNT).collect::<Vec<_>>(), "{adopted:?}");
        assert!(adopted.iter().all(|one| one.len() < 12), "{adopted:?}");
    }

    #[test]
    fn who_has_just_come_or_does_not_hear_himself_adopts_nothing() {
        let mut new = Roster::new("b", ms(10_000));
        new.hear("b", &[], &[], ms(11_000));
        assert_eq!(new.adopted(&set([]), COUNT, ms(12_499)), set([]), "others may not have spoken yet");
        assert_eq!(new.adopted(&set([]), COUNT, ms(12_500)), all());
        let deaf = two();
        assert_eq!(deaf.adopted(&set(6..12), COUNT, ms(60_000)), set([]), "the bus is away");
    }
}
