//! Partitions that nobody was given: finds them and makes the group share out anew.
//!
//! In a cooperative rebalance a member that is asked for partitions gives them up, and then *it* has to join once
//! more, for them to be shared out. If it dies in between and comes back under its name, the group takes it in as it
//! was, without a rebalance (that is what static membership is for): the partitions have no owner, the group is at
//! rest, and would stay so until somebody joins or leaves. So somebody does: a member of a moment, which takes no
//! partition of the topic. One member of the group keeps watch for all, the one with the lowest id.
//!
//! Started by [`super::group::GroupConsumer`], for every group of ours.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use super::context::Plain;
use super::error::{Error, Place};
use super::group::Member;
use super::offsets::Offsets;
use super::rebalance::Demands;
use super::settings::Settings;

/// Between two looks at the group.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So often in a row they must have been without an owner: between the two steps of a rebalance they are, for as long as
/// the one who gives them up takes for its commit.
const LOOKS: u32 = 5;
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A member id is the instance, a hyphen and a UUID.
const UUID: usize = 36;

/// Keeps watch until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    /// Nothing is ever sent: its end is the signal.
    _stop: Sender<()>,
}

impl Watch {
    /// Keeps watch over `topic` in the group of `member`, in a thread of its own.
    ///
    /// # Errors
    /// Wrong settings; no thread.
    pub fn start(settings: &Settings, topic: &str, member: &Member) -> Result<Self, Error> {
        let place = || Place::topic(topic);
        let client: BaseConsumer<Plain> =
            settings.plain().create_with_context(Plain).map_err(Error::client("creating a client", Place::none()))?;
        let guard = Guard {
            client,
            offsets: Offsets::new(settings)?,
            settings: settings.clone(),
            topic: topic.to_owned(),
            member: member.clone(),
        };
        let (stop, stopped) = channel();
        thread::Builder::new()
            .name(format!("orphans {topic}"))
            .spawn(move || guard.keep_watch(&stopped))
            .map_err(|error| Error::judged("starting a thread", place(), super::verdict::Verdict::Fatal, error))?;
        Ok(Self { _stop: stop })
    }
}

struct Guard {
    client: BaseConsumer<Plain>,
    offsets: Offsets,
    settings: Settings,
    topic: String,
    member: Member,
}

impl Guard {
    fn keep_watch(&self, stopped: &Receiver<()>) {
        let (mut seen, mut looks) = (BTreeSet::new(), 0);
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            // What goes wrong here passes, or the consumer says it too.
            let orphans = self.look().unwrap_or_else(|error| {
                tracing::debug!(topic = self.topic, %error, "who owns what is not known");
                BTreeSet::new()
            });
            looks = if orphans.is_empty() || orphans != seen { u32::from(!orphans.is_empty()) } else { looks + 1 };
            seen = orphans;
            if looks >= LOOKS {
                looks = 0;
                tracing::warn!(topic = self.topic, partitions = ?seen, "nobody was given these, the group shares out anew");
                if let Err(error) = self.stir(stopped) {
                    tracing::warn!(topic = self.topic, %error, "the group could not be made to");
                }
            }
        }
    }

    /// The partitions without an owner, if the group is at rest and we are the one who keeps watch.
    fn look(&self) -> Result<BTreeSet<i32>, Error> {
        let failed = || Error::client("asking who owns what", Place::topic(&self.topic));
        let groups = self.client.fetch_group_list(Some(&self.member.group), TIMEOUT).map_err(failed())?;
        let Some(group) = groups.groups().iter().find(|group| group.name() == self.member.group) else {
            return Ok(BTreeSet::new());
        };
        let first = group.members().iter().map(|member| member.id()).min().unwrap_or_default();
        if group.state() != "Stable" || instance_of(first) != Some(&self.member.instance) {
            return Ok(BTreeSet::new());
        }
        let mut orphans: BTreeSet<i32> = (0..self.offsets.partitions(&self.topic)?).collect();
        for member in group.members() {
            // What we cannot read may own anything.
            let Some(owned) = owned(member.assignment().unwrap_or_default(), &self.topic) else {
                return Ok(BTreeSet::new());
            };
            orphans.retain(|partition| !owned.contains(partition));
        }
        Ok(orphans)
    }

    /// Joins for a moment, and leaves: each makes the others join again.
    fn stir(&self, stopped: &Receiver<()>) -> Result<(), Error> {
        let failed = || Error::client("making a group share out anew", Place::topic(&self.topic));
        let config: ClientConfig = self.settings.member(&self.member.group, None);
        let visitor: BaseConsumer<Demands> = config.create_with_context(Demands::default()).map_err(failed())?;
        let topic = self.other_topic().map_err(failed())?;
        visitor.subscribe(&[&topic]).map_err(failed())?;
        let deadline = Instant::now() + TIMEOUT;
        // It is let in as soon as the others have joined again.
        while Instant::now() < deadline && stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            if let Some(Err(error)) = visitor.poll(Duration::from_millis(50)) {
                tracing::debug!(%error, "while joining for a moment");
            }
            if visitor.context().has_any() {
                break;
            }
        }
        visitor.context().let_go(&visitor);
        Ok(())
    }

    /// A topic that no partition of ours comes from: the visitor is to be in nobody's way. On a cluster without any,
    /// the visitor takes some of ours for a moment.
    fn other_topic(&self) -> Result<String, KafkaError> {
        let metadata = self.client.fetch_metadata(None, TIMEOUT)?;
        let mut others = metadata.topics().iter().filter(|found| found.error().is_none()).map(|found| found.name());
        let other = others.find(|name| *name != self.topic && !name.starts_with("__"));
        Ok(other.unwrap_or(&self.topic).to_owned())
    }
}

/// The instance whose member id this is.
fn instance_of(id: &str) -> Option<&str> {
    id.get(..id.len().checked_sub(UUID + 1)?)
}

/// The partitions of `topic` in an assignment as the consumer protocol writes it: version (i16), then for each topic
/// (i32 many) its name (i16 length) and its partitions (i32 many i32). `None` if it is not one.
fn owned(mut assignment: &[u8], topic: &str) -> Option<BTreeSet<i32>> {
    // Not a byte: nothing was assigned yet.
    if assignment.is_empty() {
        return Some(BTreeSet::new());
    }
    let rest = &mut assignment;
    let _version = take::<2>(rest)?;
    let mut found = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(take(rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        *rest = behind;
        for _ in 0..i32::from_be_bytes(take(rest)?) {
            let partition = i32::from_be_bytes(take(rest)?);
            if name == topic.as_bytes() {
                found.insert(partition);
            }
        }
    }
    Some(found)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two topics: `a` with 1 and 2, `bc` with 7.
    const ASSIGNMENT: &[u8] =
        b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";

    #[test]
    fn an_assignment_is_read_by_topic() {
        assert_eq!(owned(ASSIGNMENT, "a"), Some([1, 2].into()));
        assert_eq!(owned(ASSIGNMENT, "bc"), Some([7].into()));
        assert_eq!(owned(ASSIGNMENT, "b"), Some([].into()));
        assert_eq!(owned(&[], "a"), Some([].into()));
    }

    #[test]
    fn what_is_no_assignment_owns_nobody_knows_what() {
        for end in 1..ASSIGNMENT.len() - 4 {
            assert_eq!(owned(&ASSIGNMENT[..end], "a"), None, "cut at {end}");
        }
    }

    #[test]
    fn a_static_member_is_known_by_its_instance() {
        assert_eq!(instance_of("p-1-0123abcd-0123-0123-0123-0123456789ab"), Some("p-1"));
        assert_eq!(instance_of("short"), None);
    }
}
