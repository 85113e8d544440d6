//! Who owns which partitions: what a member of a group is told, and when.
//!
//! The client's rebalance callback runs deep inside its poll, where neither the worker nor the consumer could be
//! used freely. So the callback only keeps what it was given, and [`super::group::GroupConsumer::poll`] carries
//! it out as soon as the client's poll returns, which it does at once. Kafka waits for the answer (the
//! incremental assign or unassign), so nothing is lost by that; until it is given, a revoked partition is still
//! ours, and whether the assignment was lost is still known.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::bindings as native;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::context::log;
use super::group::GroupConsumer;

/// What a member does when partitions come and go. Called from within [`GroupConsumer::poll`] and
/// [`GroupConsumer::close`], by the thread that calls them, never with an empty list.
pub trait Rebalance {
    /// These partitions are ours now. None of their records come before [`GroupConsumer::start`] was called for
    /// them, here or later: restore first.
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]);

    /// These partitions go to another member when this returns: commit, then give them up.
    fn revoked(&mut self, consumer: &GroupConsumer, partitions: &[i32]);

    /// These partitions may already belong to another member: drop their state, commit nothing.
    fn lost(&mut self, consumer: &GroupConsumer, partitions: &[i32]);
}

/// What the group wants of this member.
#[derive(Debug)]
pub(super) enum Demand {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// The consumer's context: keeps the group's demands.
#[derive(Debug, Default)]
pub(super) struct Demands {
    waiting: Mutex<VecDeque<Demand>>,
    /// Set when the consumer is dropped without having been closed: nobody will carry demands out any more, and
    /// the client does not end before they are.
    abandoned: AtomicBool,
}

impl Demands {
    /// The oldest demand that was not carried out yet.
    pub fn take(&self) -> Option<Demand> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// What [`Self::take`] gave could not be carried out yet.
    pub fn put_back(&self, demand: Demand) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_front(demand);
    }

    /// Does the group want anything?
    pub fn has_any(&self) -> bool {
        !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Agrees to whatever the group wants, now and later: `consumer`, whose context this is, is about to end, and the
    /// client does not end before every demand is answered.
    pub fn let_go(&self, consumer: &BaseConsumer<Self>) {
        self.abandon();
        while let Some(demand) = self.take() {
            match demand {
                Demand::Assign(list) => answer_blindly(consumer, true, &list),
                Demand::Revoke(list) => answer_blindly(consumer, false, &list),
            }
        }
    }

    /// From now on demands are answered at once, without telling anybody.
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

impl ClientContext for Demands {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "hms_ops::bus", %error, reason, "client error");
    }
}

impl ConsumerContext for Demands {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.abandoned.load(Ordering::Acquire) {
            answer_blindly(consumer, assign, list);
            return;
        }
        // The list belongs to the event and goes with it.
        let list = list.clone();
        let demand = if assign { Demand::Assign(list) } else { Demand::Revoke(list) };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(demand);
    }
}

/// Agrees to whatever the group wants; the consumer is about to end.
fn answer_blindly(consumer: &BaseConsumer<Demands>, assign: bool, list: &TopicPartitionList) {
    let result = if assign { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
    if let Err(error) = result {
        tracing::debug!(target: "hms_ops::bus", %error, "rebalance while closing");
        // Refused because nothing fits together any more: give everything up, or the client would never end.
        // SAFETY: the client is alive; a null list is the documented way to give everything up.
        unsafe { native::rd_kafka_assign(consumer.client().native_ptr(), std::ptr::null()) };
    }
}
