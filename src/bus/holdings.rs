//! The partitions that a member of a group holds, and how far each was handed out.
//!
//! The client keeps positions too, but it counts a whole batch as read before the first record of it is. Only when
//! nothing is left of what was taken do both agree, and then the client's is the better one: it has also passed the
//! markers of transactions, which are never handed out.
//!
//! Ends are not the client's events: a batch call would count one as a record, and when the client pauses for a
//! rebalance and goes on from its own position, the record that comes there later would be skipped.

use std::collections::BTreeMap;
use std::ffi::CString;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::topic_partition_list::Offset;

use super::error::{Error, Place};

/// One partition.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// The next offset to be handed out; none before the start.
    position: Option<i64>,
    /// That this is the end was told.
    told: bool,
    /// Not all that the client counts as read was handed out, or will be: its position is worth nothing until a start.
    paused: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holdings(BTreeMap<i32, Holding>);

impl Holdings {
    /// Partitions that came, not started yet.
    pub fn extend(&mut self, partitions: impl Iterator<Item = i32>) {
        self.0.extend(partitions.map(|partition| (partition, Holding::default())));
    }

    pub fn remove(&mut self, partitions: &[i32]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    pub fn contains(&self, partition: i32) -> bool {
        self.0.contains_key(&partition)
    }

    /// Ascending.
    pub fn partitions(&self) -> Vec<i32> {
        self.0.keys().copied().collect()
    }

    /// `None` if it is not ours or not started.
    pub fn position(&self, partition: i32) -> Option<i64> {
        self.0.get(&partition)?.position
    }

    /// A partition that is ours begins (again) at `offset`.
    pub fn start(&mut self, partition: i32, offset: i64) {
        self.0.insert(partition, Holding { position: Some(offset), ..Holding::default() });
    }

    /// The client's position is worth nothing from now on. Says whether it was worth something.
    pub fn pause(&mut self, partition: i32) -> bool {
        let holding = self.0.get_mut(&partition);
        holding.is_some_and(|holding| !std::mem::replace(&mut holding.paused, true) && holding.position.is_some())
    }

    /// May this record be handed out? Counts it then. Of a partition that was not started nothing may, and nothing
    /// twice: a pause of the client's own in the midst of a batch makes it fetch the batch again.
    #[inline]
    pub fn pass(&mut self, partition: i32, offset: i64) -> bool {
        match self.0.get_mut(&partition) {
            Some(Holding { position: Some(position), told, .. }) if offset >= *position => {
                (*position, *told) = (offset + 1, false);
                true
            }
            _ => false,
        }
    }

    /// Nothing is left of what was taken from the client: passes the markers that it has passed.
    pub fn catch_up<C: ConsumerContext>(&mut self, client: &BaseConsumer<C>, topic: &str) -> Result<(), Error> {
        if self.0.values().all(|holding| holding.position.is_none()) {
            return Ok(());
        }
        let list = client.position().map_err(Error::client("asking for positions", Place::topic(topic)))?;
        for entry in list.elements_for_topic(topic) {
            // Without an offset nothing was read since the start.
            if let (Some(Holding { position: Some(position), told, paused: false }), Offset::Offset(offset)) =
                (self.0.get_mut(&entry.partition()), entry.offset())
                && offset > *position
            {
                (*position, *told) = (offset, false);
            }
        }
        Ok(())
    }

    /// Where the log of a partition ended when the client last fetched from it; asks nobody.
    pub fn known_end<C: ConsumerContext>(client: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
        known_end(client, &CString::new(topic).ok()?, partition)
    }

    /// A partition whose end was reached, each once; after [`Self::catch_up`].
    pub fn end<C: ConsumerContext>(&mut self, client: &BaseConsumer<C>, topic: &str) -> Option<i32> {
        let name = CString::new(topic).ok()?;
        self.0.iter_mut().filter(|(_, holding)| !holding.told).find_map(|(&partition, holding)| {
            let end = known_end(client, &name, partition);
            holding.told = holding.position.is_some() && holding.position == end;
            holding.told.then_some(partition)
        })
    }
}

/// Where the log ended when it was last fetched from; open transactions included.
fn known_end<C: ConsumerContext>(client: &BaseConsumer<C>, topic: &CString, partition: i32) -> Option<i64> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and name are alive; both places are ours. It only looks at what the client knows.
    let error = unsafe {
        let client = client.client().native_ptr();
        native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (error == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_handed_out_once_and_only_of_a_partition_that_was_started() {
        let mut holdings = Holdings::default();
        holdings.extend([0, 1].into_iter());
        assert!(!holdings.pass(0, 5), "not started");
        holdings.start(0, 5);
        assert!(holdings.pass(0, 5) && holdings.pass(0, 7) && !holdings.pass(0, 7) && !holdings.pass(0, 6));
        assert_eq!((holdings.position(0), holdings.position(1)), (Some(8), None));
        holdings.start(0, 5);
        assert!(holdings.pass(0, 5), "back, as after an abort");
        holdings.remove(&[0]);
        assert!(!holdings.pass(0, 6) && holdings.partitions() == [1]);
    }
}
