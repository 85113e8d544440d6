//! Many records of one partition by one call of the client, which looks the topic up, and asks for the time, once for all
//! of them.

use std::ffi::CString;
use std::ptr::NonNull;

use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::error::{Error, Place};
use super::verdict::Verdict;

/// Records a call at most.
pub(super) const CALL: usize = 256;

/// See the module. Must be dropped before its client.
#[derive(Default)]
pub(super) struct Batches {
    /// There are few.
    topics: Vec<Topic>,
    /// What a call is given.
    room: Vec<native::rd_kafka_message_t>,
}

// SAFETY: the client's topics may be used, and given back, by any thread. Nothing is read of what lies in `room` after the
// call that it was for.
unsafe impl Send for Batches {}

/// One reference to a topic of the client.
struct Topic {
    name: String,
    handle: NonNull<native::rd_kafka_topic_t>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it is not used any more.
        unsafe { native::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

/// How many records the client took.
pub(super) enum Taken {
    All,
    /// Which the first was that it did not take, and why. Of those behind it it took none if its queue is full.
    Until(usize, KafkaError),
}

impl Batches {
    /// Queues records (copies them), keys and values, [`CALL`] at most.
    pub fn send<C: ProducerContext>(
        &mut self,
        client: &BaseProducer<C>,
        topic: &str,
        partition: i32,
        records: &[(&[u8], &[u8])],
    ) -> Result<Taken, Error> {
        let handle = self.handle(client, topic)?.as_ptr();
        self.room.clear();
        self.room.extend(records.iter().map(|(key, value)| native::rd_kafka_message_t {
            err: native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: std::ptr::null_mut(),
            partition,
            payload: value.as_ptr().cast_mut().cast(),
            len: value.len(),
            key: key.as_ptr().cast_mut().cast(),
            key_len: key.len(),
            offset: 0,
            _private: std::ptr::null_mut(),
        }));
        let count = i32::try_from(self.room.len()).unwrap_or(i32::MAX);
        let copy = native::RD_KAFKA_MSG_F_COPY;
        // SAFETY: the topic is alive, and so is its client; there are so many messages, whose bytes are copied.
        let taken = unsafe { native::rd_kafka_produce_batch(handle, partition, copy, self.room.as_mut_ptr(), count) };
        if taken == count {
            return Ok(Taken::All);
        }
        let refused = self.room.iter().map(|message| KafkaError::MessageProduction(Code::from(message.err)));
        let first = refused.enumerate().find(|(_, error)| error.rdkafka_error_code() != Some(Code::NoError));
        // Each that was not taken says why; one that did not would be lost in silence.
        let (first, error) = first.unwrap_or((0, KafkaError::MessageProduction(Code::Fail)));
        Ok(Taken::Until(first, error))
    }

    /// The client's reference to a topic, made when it is first wanted.
    fn handle<C: ProducerContext>(
        &mut self,
        client: &BaseProducer<C>,
        topic: &str,
    ) -> Result<NonNull<native::rd_kafka_topic_t>, Error> {
        if let Some(known) = self.topics.iter().find(|known| known.name == topic) {
            return Ok(known.handle);
        }
        let refused = |why: String| Error::judged("naming a topic", Place::topic(topic), Verdict::Fatal, why);
        let name = CString::new(topic).map_err(|error| refused(error.to_string()))?;
        // SAFETY: client and name are alive; without a configuration the topic has the client's.
        let handle =
            unsafe { native::rd_kafka_topic_new(client.client().native_ptr(), name.as_ptr(), std::ptr::null_mut()) };
        let handle = NonNull::new(handle).ok_or_else(|| refused("the client refuses it".to_owned()))?;
        self.topics.push(Topic { name: topic.to_owned(), handle });
        Ok(handle)
    }
}
