//! What goes out and what comes in: records, borrowed wherever possible.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;
use rdkafka::{Offset, TopicPartitionList};

use super::error::{Error, Place};
use crate::codec::ids::Ids;

/// A record to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition: our clients always say which.
    pub partition: i32,
    /// Key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order: name and value; a value may be null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Event time for topics with `message.timestamp.type=CreateTime` (simulated time), ms. Topics with
    /// LogAppendTime, which all of ours are, ignore it; `None` is now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A key and a value.
    pub fn of(topic: &'a str, partition: i32, (key, value): (&'a [u8], &'a [u8])) -> Self {
        Self { topic, partition, key: Some(key), value: Some(value), ..Self::default() }
    }

    /// The same with another form of its value, if there is one.
    pub(super) fn framed(&self, value: Option<&'a [u8]>) -> Self {
        Self { value: value.or(self.value), ..*self }
    }

    /// The headers in the client's form.
    fn native_headers(&self) -> Option<OwnedHeaders> {
        if self.headers.is_empty() {
            return None;
        }
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        let insert = |headers: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| {
            headers.insert(ClientHeader { key, value: *value })
        };
        Some(self.headers.iter().fold(empty, insert))
    }

    /// The record as the client takes it; `mark` comes back with its delivery.
    pub(super) fn outgoing<M: IntoOpaque>(&self, mark: M) -> BaseRecord<'a, [u8], [u8], M> {
        BaseRecord {
            topic: self.topic,
            partition: Some(self.partition),
            payload: self.value,
            key: self.key,
            timestamp: self.timestamp_ms,
            headers: self.native_headers(),
            delivery_opaque: mark,
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::partition(self.topic, self.partition)
    }
}

/// An offset that is a number.
pub(super) fn number(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// When a record was written, ms since the Unix epoch, and by whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// The broker's, at the append: what the clock of a partition follows.
    Append(i64),
    /// The producer's.
    Create(i64),
    /// None: a record format older than Kafka 0.10.
    Missing,
}

impl Timestamp {
    /// The time, whoever set it.
    pub fn ms(self) -> Option<i64> {
        match self {
            Self::Append(ms) | Self::Create(ms) => Some(ms),
            Self::Missing => None,
        }
    }
}

/// One header of a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: Cow<'a, str>,
    /// Its value; `None` is null.
    pub value: Option<&'a [u8]>,
}

/// A record that was read. Lies in the client's memory and is given back when it is dropped, which must be before the
/// consumer is: with the lifetime, and with a drop of its own, the compiler insists on that. Otherwise the consumer's
/// end would wait for ever for the message's.
pub struct Message<'a> {
    native: NonNull<native::rd_kafka_message_t>,
    /// The value in single-object encoding, if it came in another.
    unframed: Option<Box<[u8]>>,
    of: PhantomData<&'a ()>,
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and its client is alive.
        unsafe { native::rd_kafka_message_destroy(self.native.as_ptr()) };
    }
}

impl<'a> Message<'a> {
    /// # Safety
    /// It is nobody else's, and its client outlives `'a`.
    pub(super) unsafe fn own(native: NonNull<native::rd_kafka_message_t>, of: PhantomData<&'a ()>) -> Self {
        Self { native, unframed: None, of }
    }

    /// The same, its value as the codecs of our own topics take it.
    pub(super) fn unframed(mut self, ids: &Ids) -> Self {
        self.unframed = self.bytes().and_then(|value| ids.unframe(value)).map(Vec::into_boxed_slice);
        self
    }

    #[inline]
    fn fields(&self) -> &native::rd_kafka_message_t {
        // SAFETY: it is ours, and nobody writes it.
        unsafe { self.native.as_ref() }
    }

    /// What the client wants to say instead of a record.
    #[inline]
    pub(super) fn error(&self) -> Option<KafkaError> {
        match self.fields().err {
            native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Some(KafkaError::PartitionEOF(self.partition()))
            }
            error => Some(KafkaError::MessageConsumption(Code::from(error))),
        }
    }

    /// Partition.
    #[inline]
    pub fn partition(&self) -> i32 {
        self.fields().partition
    }

    /// Offset.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.fields().offset
    }

    /// When it was written.
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        use native::rd_kafka_timestamp_type_t as Type;
        let mut by = Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let ms = unsafe { native::rd_kafka_message_timestamp(self.native.as_ptr(), &mut by) };
        match by {
            _ if ms == -1 => Timestamp::Missing,
            Type::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Timestamp::Append(ms),
            Type::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::Create(ms),
            Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::Missing,
        }
    }

    /// Key.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: it lies in the message, and lives as long.
        unsafe { bytes(fields.key, fields.key_len) }
    }

    /// Value; `None` is a tombstone. What came in the wire format by a schema of our own topics is in single-object
    /// encoding here; readings, and everything else, are as they are.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        match &self.unframed {
            Some(value) => Some(value),
            None => self.bytes(),
        }
    }

    /// The value as it lies in the log, to the byte: for who keeps it or sends it on.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: as above.
        unsafe { bytes(fields.payload, fields.len) }
    }

    /// Headers in order.
    ///
    /// Read past the client's safe face, which panics on a name that is no UTF-8: any producer can send one.
    pub fn headers(&self) -> Vec<Header<'_>> {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is alive; the headers belong to it and live as long.
        let error = unsafe { native::rd_kafka_message_headers(self.native.as_ptr(), &mut headers) };
        if error != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        // SAFETY: as above; index by index up to the count, name and value point into the message.
        let count = unsafe { native::rd_kafka_header_cnt(headers) };
        (0..count)
            .filter_map(|index| unsafe {
                let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
                let error = native::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
                (error == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Header {
                    name: CStr::from_ptr(name).to_string_lossy(),
                    value: (!value.is_null()).then(|| slice::from_raw_parts(value.cast(), size)),
                })
            })
            .collect()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition(), self.offset())
    }
}

/// # Safety
/// `at` is null, or `length` bytes lie there for as long as the answer is used.
#[inline]
unsafe fn bytes<'a>(at: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast(), length) })
}

/// A position to be committed inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset to be read (the consumer's position, not the last offset + 1: markers take offsets).
    pub offset: i64,
    /// Text that is committed with it, at most 4,096 bytes of ASCII.
    pub metadata: String,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Partition.
    pub partition: i32,
    /// The next offset to be read; `None` if nothing was ever committed, or it expired.
    pub offset: Option<i64>,
    /// What was committed with it; bytes that are no UTF-8 are replaced.
    pub metadata: String,
}

/// The offsets in the client's form.
pub(super) fn offset_list(offsets: &[PartitionOffset]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for wanted in offsets {
        let place = || Place::offset(&wanted.topic, wanted.partition, wanted.offset);
        let mut entry = list.add_partition(&wanted.topic, wanted.partition);
        entry.set_offset(Offset::Offset(wanted.offset)).map_err(Error::client("naming an offset", place()))?;
        if !wanted.metadata.is_empty() {
            entry.set_metadata(&wanted.metadata);
        }
    }
    Ok(list)
}

/// Partitions of one topic in the client's form.
pub(super) fn partition_list(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// The metadata of every entry, in order. Read past the client's safe face, which panics on what is no UTF-8:
/// any client of the group may have committed it.
pub(super) fn metadata_of(list: &TopicPartitionList) -> Vec<String> {
    // SAFETY: the list is alive and borrowed; it holds `cnt` entries, and metadata is null or `metadata_size` bytes.
    unsafe {
        let native = &*list.ptr();
        (0..usize::try_from(native.cnt).unwrap_or(0))
            .map(|index| {
                let entry = &*native.elems.add(index);
                if entry.metadata.is_null() {
                    return String::new();
                }
                let bytes = slice::from_raw_parts(entry.metadata.cast::<u8>(), entry.metadata_size);
                String::from_utf8_lossy(bytes).into_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_their_metadata_survive_the_clients_form() {
        let offset = |partition, metadata: &str| PartitionOffset {
            topic: "t".to_owned(),
            partition,
            offset: 7,
            metadata: metadata.to_owned(),
        };
        let list = offset_list(&[offset(0, "cut=5"), offset(1, "")]).unwrap();
        assert_eq!(metadata_of(&list), ["cut=5", ""]);
        assert_eq!(list.elements()[1].offset(), Offset::Offset(7));
        let negative = PartitionOffset { offset: -1, ..offset(0, "") };
        assert!(offset_list(&[negative]).is_err(), "a negative offset means something else to the client");
    }
}
