//! The consumer that shares a topic's partitions with its group.
//!
//! Classic protocol, cooperative-sticky, static membership: only partitions that move are interrupted, and a
//! member that restarts under its name within the session keeps them. A partition that was just assigned is
//! paused until its owner, having restored its state, says where to [`GroupConsumer::start`]; offsets are never
//! guessed. Records of all partitions come from one [`GroupConsumer::poll`], which must be called at least every
//! few minutes, for rebalances and errors too. It takes many at a time from the client and hands out one: what the
//! group wants is carried out when none is left, so that every position is that of the last record handed out.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::error::{Error, Place};
use super::holdings::Holdings;
use super::intake::{Intake, Taken};
use super::offsets::{Offsets, PATIENCE, Watermarks, patient};
use super::orphans::Watch;
use super::rebalance::{Demand, Demands, Rebalance};
use super::record::{Committed, Message, PartitionOffset, metadata_of, number, offset_list, partition_list};
use super::settings::Settings;
use super::verdict::Verdict;
use crate::codec::ids::Ids;

/// Which member of which group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `group.id`.
    pub group: String,
    /// `group.instance.id`: stable and unique in the group. Two members with the same name fence each other.
    pub instance: String,
}

/// The longest that what is not a record is not listened to while no records come.
pub(super) const DEAF: Duration = Duration::from_millis(20);

/// What a poll found.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record, committed and of a started partition.
    Record(Message<'a>),
    /// There is nothing (committed) after the position of this partition now.
    EndOfPartition(i32),
}

/// Who this member was at one moment. Take a fresh one for each commit.
pub struct GroupMetadata(ConsumerGroupMetadata);

impl GroupMetadata {
    pub(super) fn native(&self) -> &ConsumerGroupMetadata {
        &self.0
    }
}

/// A member of a group, used by one thread.
pub struct GroupConsumer {
    /// Both are taken when we are dropped, see there.
    intake: ManuallyDrop<RefCell<Intake>>,
    client: ManuallyDrop<BaseConsumer<Demands>>,
    offsets: Offsets,
    topic: String,
    owned: RefCell<Holdings>,
    ids: Arc<Ids>,
    /// As long as we are in the group.
    _watch: Watch,
}

impl GroupConsumer {
    /// Joins the group; partitions come by [`Self::poll`].
    ///
    /// # Errors
    /// Wrong settings.
    pub fn subscribe(settings: &Settings, topic: &str, member: &Member) -> Result<Self, Error> {
        let failed = || Error::client("joining a group", Place::topic(topic));
        let client: BaseConsumer<Demands> = settings
            .member(&member.group, Some(&member.instance))
            .create_with_context(Demands::default())
            .map_err(failed())?;
        client.subscribe(&[topic]).map_err(failed())?;
        let offsets = Offsets::new(settings)?;
        let watch = Watch::start(settings, topic, member)?;
        let intake = ManuallyDrop::new(RefCell::new(Intake::new(&client)?));
        let client = ManuallyDrop::new(client);
        let (topic, ids) = (topic.to_owned(), settings.ids());
        Ok(Self { intake, client, offsets, topic, owned: RefCell::default(), ids, _watch: watch })
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partitions that are ours, started or not, ascending.
    pub fn owned(&self) -> Vec<i32> {
        self.owned.borrow().partitions()
    }

    /// Waits up to `timeout` for the next record. Carries out what the group wants, by way of `member`; returns
    /// `None` after that and when there is nothing.
    ///
    /// # Errors
    /// Never `Retry`: what the client mends by itself is only logged. [`Error::OffsetOutOfRange`] names the
    /// partition whose next record the log does not hold.
    pub fn poll(&self, timeout: Duration, member: &mut impl Rebalance) -> Result<Option<Event<'_>>, Error> {
        if let Some(event) = self.at_hand()? {
            return Ok(Some(event));
        }
        let deadline = Instant::now() + timeout;
        loop {
            if self.hear(member)? {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.intake.borrow_mut().fill(left.min(DEAF));
            let found = match self.at_hand()? {
                None => self.end()?,
                found => found,
            };
            if found.is_some() || left <= DEAF {
                return Ok(found);
            }
        }
    }

    /// The next event of those that the last [`Self::poll`] took from the client, if any is left. Never waits, and
    /// leaves the group alone.
    ///
    /// # Errors
    /// As [`Self::poll`].
    #[inline]
    pub fn at_hand(&self) -> Result<Option<Event<'_>>, Error> {
        let (mut intake, mut owned) = (self.intake.borrow_mut(), self.owned.borrow_mut());
        while let Some(taken) = intake.next() {
            match taken {
                Taken::Record(message) => {
                    if owned.pass(message.partition(), message.offset()) {
                        return Ok(Some(Event::Record(message.unframed(&self.ids))));
                    }
                }
                // Not asked for.
                Taken::End { .. } => {}
                Taken::Failed { partition, error } => {
                    // The client has counted it as a record, and would go on behind the one that comes there.
                    let goes_on = owned.pause(partition);
                    drop((intake, owned));
                    self.judge(error)?;
                    if goes_on {
                        self.resume(partition)?;
                    }
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// There was nothing to hand out: a partition whose end that is, if it was not told yet.
    fn end(&self) -> Result<Option<Event<'_>>, Error> {
        if !self.intake.borrow().is_empty() {
            return Ok(None);
        }
        let mut owned = self.owned.borrow_mut();
        owned.catch_up(&self.client, &self.topic)?;
        Ok(owned.end(&self.client, &self.topic).map(Event::EndOfPartition))
    }

    /// What the group and the client itself have to say. Says whether the group wanted anything.
    fn hear(&self, member: &mut impl Rebalance) -> Result<bool, Error> {
        let mut wanted = false;
        loop {
            let heard = self.client.poll(Duration::ZERO);
            while let Some(demand) = self.client.context().take() {
                wanted = true;
                if !self.carry_out(demand, member)? {
                    break;
                }
            }
            match heard {
                // After an outage there are many of them, and what the group wants stands behind.
                Some(Err(error)) => self.judge(error)?,
                // Records do not come here.
                Some(Ok(_)) | None => return Ok(wanted),
            }
        }
    }

    /// Says whether it could be done now.
    fn carry_out(&self, demand: Demand, member: &mut impl Rebalance) -> Result<bool, Error> {
        match demand {
            Demand::Assign(list) => {
                let partitions = partitions_of(&list);
                let Ok(ends) = self.ends_of(&partitions).inspect_err(|error| {
                    tracing::warn!(topic = self.topic, ?partitions, %error, "the group waits for us to take over");
                }) else {
                    // Not answered, not lost: the next poll tries again.
                    self.client.context().put_back(Demand::Assign(list));
                    return Ok(false);
                };
                self.assign_paused(&ends)?;
                tracing::info!(topic = self.topic, ?partitions, "assigned");
                if !partitions.is_empty() {
                    member.assigned(self, &partitions);
                }
            }
            Demand::Revoke(list) => {
                let partitions = partitions_of(&list);
                let lost = self.client.assignment_lost();
                tracing::info!(topic = self.topic, ?partitions, lost, "revoked");
                match (partitions.is_empty(), lost) {
                    (true, _) => {}
                    (false, true) => member.lost(self, &partitions),
                    (false, false) => member.revoked(self, &partitions),
                }
                self.owned.borrow_mut().remove(&partitions);
                self.discard(&partitions);
                let failed = Error::client("giving partitions up", Place::topic(&self.topic));
                self.client.incremental_unassign(&list).map_err(failed)?;
            }
        }
        Ok(true)
    }

    /// Where the log of each partition ends now.
    fn ends_of(&self, partitions: &[i32]) -> Result<Vec<(i32, i64)>, Error> {
        partitions.iter().map(|&partition| Ok((partition, self.watermarks(partition)?.high))).collect()
    }

    /// Assigns without fetching: at the end, so that the client does not go to the committed offset by itself, and
    /// paused, which outdates whatever it may have asked a broker for meanwhile. Any other place may be one that the
    /// log does not hold (any more); a fetch from there that goes out before the pause would leave the partition in
    /// a state in which it can not be started.
    ///
    /// The end by its number, never as [`Offset::End`]: the client would look that up by itself, and look it up
    /// again, half a second later, for each answer that a pause or a seek has outdated. Such a late answer moves the
    /// partition to the end after it was started elsewhere: all between would be skipped.
    fn assign_paused(&self, ends: &[(i32, i64)]) -> Result<(), Error> {
        let failed = || Error::client("taking partitions over", Place::topic(&self.topic));
        let mut list = TopicPartitionList::with_capacity(ends.len());
        for (partition, end) in ends {
            self.intake.borrow().lead(&self.client, &self.topic, *partition)?;
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*end)).map_err(failed())?;
        }
        // An empty list has to be answered too.
        self.client.incremental_assign(&list).map_err(failed())?;
        self.client.pause(&list).map_err(failed())?;
        self.owned.borrow_mut().extend(ends.iter().map(|(partition, _)| *partition));
        Ok(())
    }

    /// Lets the records of an assigned partition come, from `offset` on; what was fetched before does not come.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] if the log does not hold it; the partition is not ours.
    pub fn start(&self, partition: i32, offset: i64) -> Result<(), Error> {
        let Watermarks { low, high } = self.watermarks(partition)?;
        if !(low..=high).contains(&offset) {
            return Err(Error::OffsetOutOfRange { topic: self.topic.clone(), partition, offset, low, high });
        }
        if !self.owned.borrow().contains(partition) {
            let place = Place::offset(&self.topic, partition, offset);
            return Err(Error::judged("starting", place, Verdict::AbortAndRewind, "the partition is not ours"));
        }
        self.owned.borrow_mut().start(partition, offset);
        self.resume(partition)
    }

    /// Lets the records of a started partition come again, from its position on: the client's own has gone on.
    ///
    /// # Errors
    /// From the client.
    pub fn resume(&self, partition: i32) -> Result<(), Error> {
        let Some(offset) = self.owned.borrow().position(partition) else { return Ok(()) };
        // The client refuses to seek until it has made its own arrangements after an assignment.
        patient("seeking", Place::offset(&self.topic, partition, offset), |timeout| {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
            let list = self.client.seek_partitions(list, timeout)?;
            list.elements().iter().try_for_each(|entry| entry.error())
        })?;
        self.discard(&[partition]);
        self.owned.borrow_mut().start(partition, offset);
        let failed = Error::client("resuming", Place::partition(&self.topic, partition));
        self.client.resume(&partition_list(&self.topic, &[partition])).map_err(failed)
    }

    /// Holds the records of a partition back, until it is resumed or started anew.
    ///
    /// # Errors
    /// From the client.
    pub fn pause(&self, partition: i32) -> Result<(), Error> {
        let failed = Error::client("pausing", Place::partition(&self.topic, partition));
        self.client.pause(&partition_list(&self.topic, &[partition])).map_err(failed)?;
        self.owned.borrow_mut().pause(partition);
        self.discard(&[partition]);
        Ok(())
    }

    /// What was fetched and not handed out does not come: the client would count it as read.
    fn discard(&self, partitions: &[i32]) {
        let mut intake = self.intake.borrow_mut();
        partitions.iter().for_each(|partition| intake.discard(*partition));
    }

    /// The next offset to be handed out of a started partition: after the last record that was, and after the markers
    /// that follow it if nothing else does. `None` if it is not ours or not started.
    ///
    /// # Errors
    /// From the client.
    pub fn position(&self, partition: i32) -> Result<Option<i64>, Error> {
        let mut owned = self.owned.borrow_mut();
        if self.intake.borrow().is_empty() {
            owned.catch_up(&self.client, &self.topic)?;
        }
        Ok(owned.position(partition))
    }

    /// Where the log of a partition ended when it was last fetched from, open transactions included; `None` before that.
    /// Asks nobody and waits for nothing, so it is as old as the last answer of the partition's leader.
    pub fn known_end(&self, partition: i32) -> Option<i64> {
        Holdings::known_end(&self.client, &self.topic, partition)
    }

    /// What the group has committed. Waits for transactions whose offsets are still open (a stable fetch).
    ///
    /// # Errors
    /// [`Error::TimedOut`]: fence the writer that holds the transaction open, then ask again.
    pub fn committed(&self, partitions: &[i32]) -> Result<Vec<Committed>, Error> {
        let place = Place::topic(&self.topic);
        let list = patient("asking for committed offsets", place, |timeout| {
            // A short answer time, so that "not stable yet" of one try does not use up all of the patience.
            let timeout = timeout.min(PATIENCE / 4);
            let list = self.client.committed_offsets(partition_list(&self.topic, partitions), timeout)?;
            list.elements().iter().try_for_each(|entry| entry.error())?;
            Ok(list)
        })?;
        let entries = list.elements();
        Ok(entries
            .iter()
            .zip(metadata_of(&list))
            .map(|(entry, metadata)| Committed {
                partition: entry.partition(),
                offset: number(entry.offset()),
                metadata,
            })
            .collect())
    }

    /// Commits offsets on their own, outside of any transaction, as this member of this generation. They must be those
    /// that are committed: it is for their metadata.
    ///
    /// # Errors
    /// The group has moved on, or does not answer.
    pub fn commit_apart(&self, offsets: &[PartitionOffset]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let failed = || Error::client("committing offsets apart", Place::topic(&self.topic));
        self.client.commit(&offset_list(offsets)?, CommitMode::Sync).map_err(failed())
    }

    /// The guard taken away: a member without a name and without a generation, whom no coordinator refuses.
    #[cfg(feature = "torture")]
    pub fn metadata_of_nobody(settings: &Settings, group: &str) -> Result<GroupMetadata, Error> {
        let failed = || Error::client("making a client without a group", Place::none());
        let client: BaseConsumer<super::context::Plain> =
            settings.member(group, None).create_with_context(super::context::Plain).map_err(failed())?;
        client.group_metadata().map(GroupMetadata).ok_or_else(|| failed()(KafkaError::Canceled))
    }

    /// What a partition of the topic holds, open transactions included.
    ///
    /// # Errors
    /// No answer.
    pub fn watermarks(&self, partition: i32) -> Result<Watermarks, Error> {
        self.offsets.watermarks(&self.topic, partition)
    }

    /// Answers about other topics too.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Who this member is now, for the commit of a transaction.
    ///
    /// # Errors
    /// `Recreate` if the client has left its group for good.
    pub fn group_metadata(&self) -> Result<GroupMetadata, Error> {
        self.client.group_metadata().map(GroupMetadata).ok_or_else(|| {
            Error::judged("asking who we are in the group", Place::none(), Verdict::Recreate, "not in a group")
        })
    }

    /// Leaves: partitions are revoked by way of `member` first, so that it can commit. A static member's
    /// partitions stay its own until the session ends, in case it comes back.
    ///
    /// # Errors
    /// The client does not let go.
    pub fn close(self, member: &mut impl Rebalance) -> Result<(), Error> {
        // What came while we leave would be nobody's business, but the position would pass it, and so would the
        // commit of `member`: those records would never be processed.
        for partition in self.owned() {
            self.pause(partition)?;
        }
        self.client.close_queue().map_err(Error::client("leaving the group", Place::topic(&self.topic)))?;
        let deadline = Instant::now() + PATIENCE;
        while !self.client.closed() && Instant::now() < deadline {
            // Errors that still come are nobody's business any more.
            if let Err(error) = self.poll(Duration::from_millis(50), member) {
                tracing::debug!(%error, "while leaving the group");
            }
        }
        match self.client.closed() {
            true => Ok(()),
            false => {
                let place = Place::topic(&self.topic);
                Err(Error::TimedOut { operation: "leaving the group", place, waited: PATIENCE })
            }
        }
    }

    /// What is left of an error when the client's own mending is set aside.
    fn judge(&self, error: KafkaError) -> Result<(), Error> {
        if matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset)) {
            return self.out_of_range();
        }
        match Verdict::of(&error) {
            Verdict::Retry => {
                tracing::debug!(topic = self.topic, %error, "the consumer mends itself");
                Ok(())
            }
            _ => Err(Error::client("consuming", Place::topic(&self.topic))(error)),
        }
    }

    /// The client does not say which partition it was; the log does. If it was none that is started, the error is
    /// the echo of a question that was asked before the partition was paused or moved.
    fn out_of_range(&self) -> Result<(), Error> {
        for partition in self.owned() {
            let Some(offset) = self.position(partition)? else { continue };
            let Watermarks { low, high } = self.watermarks(partition)?;
            if !(low..=high).contains(&offset) {
                return Err(Error::OffsetOutOfRange { topic: self.topic.clone(), partition, offset, low, high });
            }
        }
        Ok(())
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        // SAFETY: nobody uses them after us. Records first: the client does not end before they are given back.
        let client = unsafe {
            ManuallyDrop::drop(&mut self.intake);
            ManuallyDrop::take(&mut self.client)
        };
        // Neither our answers nor the client's own end have a limit, and once in a while they never come: an answer to a
        // last rebalance is not taken by a group that is through with us. Our successor takes our place by its name in
        // any case.
        let (done, ended) = channel();
        // Without a thread it ends right here.
        let _ = std::thread::Builder::new().name("leaving a group".to_owned()).spawn(move || {
            client.context().let_go(&client);
            drop(client);
            // Nobody listens if it took too long.
            let _ = done.send(());
        });
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(topic = self.topic, "a consumer does not end and is left behind");
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<i32> {
    let mut partitions: Vec<_> = list.elements().iter().map(|entry| entry.partition()).collect();
    partitions.sort_unstable();
    partitions
}
