//! Sees to it that a group that we have come back to leaves no partition without an owner. Used by
//! [`super::group::GroupConsumer`] alone.
//!
//! A member that is to give partitions up says so by joining again; only then are they given to others. If it dies in
//! between and is back within its session, the broker hands it what the group had left it and asks nobody to join
//! (static membership). It has nothing to give up any more, so it does not join again either, and the rest is
//! nobody's until the next rebalance, whenever that is:
//!
//! ```text
//! one: 0 1 2 3 | 2 3, give up 0 1 --x   (back)  2 3
//! two:         | nothing yet                    nothing, for ever
//! ```
//!
//! The client cannot be told to join again. So who comes back looks whether every partition has an owner, and if not
//! knocks: a member without a name joins and leaves, which makes the group share its partitions anew. Partitions that
//! have an owner stay where they are, as ever.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};

use super::context::log;
use super::offsets::Offsets;
use super::rebalance::Demands;
use super::settings::Settings;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// A partition that is on its way from one member to another has no owner for a moment. Without one at so many looks
/// in a row, it is on its way to nobody.
const LOOKS: u32 = 3;
/// How long a question may take: records wait for the answer.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A knock that nobody answers for so long is given up; the next look knocks again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Coverage {
    settings: Settings,
    group: String,
    topic: String,
    state: State,
}

enum State {
    /// Nothing is assigned yet.
    Joining,
    Looking {
        next: Instant,
        /// Looks in a row at which a partition had no owner.
        alone: u32,
    },
    Knocking {
        client: BaseConsumer<Knock>,
        since: Instant,
    },
    /// Every partition had an owner. Who joins and leaves from now on is asked to, and shares.
    Covered,
}

impl Coverage {
    pub fn new(settings: &Settings, group: &str, topic: &str) -> Self {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Self { settings: settings.clone(), group, topic, state: State::Joining }
    }

    /// The group has told us what is ours.
    pub fn joined(&mut self) {
        if matches!(self.state, State::Joining) {
            self.state = State::Looking { next: Instant::now() + PAUSE, alone: 0 };
        }
    }

    /// Does what is due, if anything is. Never fails: what could not be asked is asked again.
    pub fn look(&mut self, client: &BaseConsumer<Demands>, offsets: &Offsets) {
        match &self.state {
            State::Joining | State::Covered => {}
            State::Looking { next, .. } if Instant::now() < *next => {}
            State::Looking { alone, .. } => {
                let alone = match self.unowned(client, offsets) {
                    None => *alone,
                    Some(unowned) if unowned.is_empty() => {
                        self.state = State::Covered;
                        return;
                    }
                    Some(unowned) if *alone + 1 >= LOOKS => {
                        tracing::warn!(
                            topic = self.topic,
                            ?unowned,
                            "nobody owns these partitions, asking to share anew"
                        );
                        self.knock();
                        return;
                    }
                    Some(_) => *alone + 1,
                };
                self.state = State::Looking { next: Instant::now() + PAUSE, alone };
            }
            State::Knocking { client, since } => {
                // Whatever comes is not ours to process.
                drop(client.poll(Duration::ZERO));
                if client.context().answered.load(Ordering::Acquire) || since.elapsed() > ANSWERED_WITHIN {
                    // It leaves by this.
                    self.state = State::Looking { next: Instant::now() + PAUSE, alone: 0 };
                }
            }
        }
    }

    fn knock(&mut self) {
        let client = self.settings.member(&self.group, None).create_with_context(Knock::default());
        let joined: KafkaResult<BaseConsumer<Knock>> =
            client.and_then(|client: BaseConsumer<Knock>| client.subscribe(&[&self.topic]).map(|()| client));
        self.state = match joined {
            Ok(client) => State::Knocking { client, since: Instant::now() },
            Err(error) => {
                tracing::warn!(topic = self.topic, %error, "cannot ask the group to share anew");
                State::Looking { next: Instant::now() + PAUSE, alone: 0 }
            }
        };
    }

    /// The partitions that no member of a settled group owns; `None` if that is not known now.
    fn unowned(&self, client: &BaseConsumer<Demands>, offsets: &Offsets) -> Option<BTreeSet<i32>> {
        let groups = client.client().fetch_group_list(Some(&self.group), TIMEOUT).ok()?;
        let group = groups.groups().iter().find(|group| group.name() == self.group && group.state() == "Stable")?;
        let mut unowned: BTreeSet<i32> = (0..offsets.partitions(&self.topic).ok()?).collect();
        for member in group.members() {
            for partition in assigned(member.assignment()?, &self.topic)? {
                unowned.remove(&partition);
            }
        }
        Some(unowned)
    }
}

/// The context of the member that knocks.
#[derive(Debug, Default)]
struct Knock {
    /// The group has shared its partitions with us in it.
    answered: AtomicBool,
}

impl ClientContext for Knock {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "hms_ops::bus", %error, reason, "client error");
    }
}

impl ConsumerContext for Knock {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.answered.store(true, Ordering::Release);
        }
    }
}

/// The partitions of `topic` in an assignment of Kafka's consumer protocol: version (i16), an array of (topic, array of
/// partitions), user data. `None` if it is none. No bytes: a member that was given nothing yet.
fn assigned(bytes: &[u8], topic: &str) -> Option<Vec<i32>> {
    let mut rest = bytes;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    take::<2>(&mut rest)?;
    let mut partitions = Vec::new();
    for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
            let partition = i32::from_be_bytes(take(&mut rest)?);
            if name == topic.as_bytes() {
                partitions.push(partition);
            }
        }
    }
    Some(partitions)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_garbage_is_none() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x01\0\0\0\x07\0\x01b\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0";
        assert_eq!(assigned(bytes, "b"), Some(vec![0, 3]));
        assert_eq!(assigned(bytes, "a"), Some(vec![7]));
        assert_eq!(assigned(bytes, "c"), Some(vec![]));
        assert_eq!(assigned(b"", "a"), Some(vec![]));
        for end in 1..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..end], "b"), None, "cut at {end}");
        }
        assert_eq!(assigned(b"\0\x01\x7f\xff\xff\xff\xff\xff", "a"), None);
    }
}
