//! The courier: one producer for many senders at once, which never waits and tells each of them what became of its own
//! records. Idempotent, acknowledged by all replicas, outside of transactions. Used by whoever answers a request only
//! when the cluster has answered.
//!
//! ```text
//!  open(n, bytes) -> Parcel, or Full      all of it is taken, or nothing
//!  send(record, i) x n                    copied; what cannot be taken is reported like what is refused later
//!  parcel.wait().await -> Receipt         when the last report is in
//! ```
//!
//! Memory is bounded by what is admitted: a parcel counts from [`Courier::open`] until its last record is reported and
//! its sender has let go of it. Every record is reported within the patience of the courier, so it always ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::context;
use super::error::Error;
use super::record::Record;
use super::served::Served;
use super::settings::Settings;
use crate::codec::ids::Ids;

/// What the client's queue holds beyond what is admitted: it must never be what says no.
const SLACK_RECORDS: u64 = 1_000;
const SLACK_KBYTES: u64 = 1_024;

/// What a courier takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records on their way at once.
    pub records: u64,
    /// Their keys and values, bytes.
    pub bytes: u64,
    /// After so long a record that is not acknowledged has failed. It may be there all the same.
    pub patience: Duration,
}

/// So much is on its way that no more is taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much is on its way")]
pub struct Full;

/// See the module.
pub struct Courier {
    settings: Settings,
    limits: Limits,
    client: RwLock<Arc<Client>>,
    ids: Arc<Ids>,
    load: Arc<Load>,
}

type Client = Served<Reports>;

impl Courier {
    /// Asks nothing of the cluster yet.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings, limits: Limits) -> Result<Self, Error> {
        let client = RwLock::new(Arc::new(connect(settings, limits)?));
        Ok(Self { settings: settings.clone(), limits, client, ids: settings.ids(), load: Arc::default() })
    }

    /// Takes on so many records with so many bytes of keys and values; all of them are to be sent.
    ///
    /// # Errors
    /// [`Full`], now or for ever if it is more than the limits.
    pub fn open(&self, records: u64, bytes: u64) -> Result<Arc<Parcel>, Full> {
        self.load.add(records, bytes, self.limits)?;
        Ok(Arc::new(Parcel {
            load: self.load.clone(),
            records,
            bytes,
            pending: AtomicU64::new(records),
            failed: Mutex::default(),
            waker: AtomicWaker::new(),
        }))
    }

    /// Queues a record of a parcel (copies it); `index` is the sender's own, and stands in the receipt if it fails.
    pub fn send(&self, record: &Record<'_>, index: u32, parcel: &Arc<Parcel>) {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let framed = record.value.and_then(|value| self.ids.frame(value));
        let record = record.framed(framed.as_deref());
        let sent = client.send(record.outgoing(Box::new(Tag { parcel: parcel.clone(), index })));
        if let Err((error, _)) = sent {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            parcel.report(index, Some(code));
            if code == Code::Fatal {
                self.renew(&client);
            }
        }
    }

    /// Records on their way, and their bytes.
    pub fn load(&self) -> (u64, u64) {
        *self.load.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that has met a fatal error takes nothing any more.
    fn renew(&self, broken: &Arc<Client>) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have done it.
        if !Arc::ptr_eq(&client, broken) {
            return;
        }
        match connect(&self.settings, self.limits) {
            Ok(fresh) => {
                tracing::warn!("the producer met a fatal error and was replaced");
                let old = std::mem::replace(&mut *client, Arc::new(fresh));
                // Its end waits for reports; the sender must not.
                let ending = std::thread::Builder::new().name("courier-end".into()).spawn(move || drop(old));
                if let Err(error) = ending {
                    tracing::debug!(%error, "the old producer ends here and now");
                }
            }
            Err(error) => tracing::error!(%error, "the producer met a fatal error and cannot be replaced"),
        }
    }

    /// Makes the client say that it met a fatal error: for tests alone.
    #[doc(hidden)]
    pub fn break_client(&self) {
        use rdkafka::producer::Producer as _;
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        let error = rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client is alive, the text too.
        unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(client.client().native_ptr(), error, c"a test".as_ptr())
        };
    }
}

fn connect(settings: &Settings, limits: Limits) -> Result<Client, Error> {
    let mut config = settings.producer();
    config
        .set("queue.buffering.max.messages", (limits.records + SLACK_RECORDS).to_string())
        .set("queue.buffering.max.kbytes", (limits.bytes / 1_024 + SLACK_KBYTES).to_string())
        .set("message.timeout.ms", limits.patience.as_millis().to_string());
    Client::new(&config, Reports)
}

/// Records and bytes that are admitted.
#[derive(Default)]
struct Load(Mutex<(u64, u64)>);

impl Load {
    fn add(&self, records: u64, bytes: u64, limits: Limits) -> Result<(), Full> {
        let mut load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = (load.0.saturating_add(records), load.1.saturating_add(bytes));
        if sum.0 > limits.records || sum.1 > limits.bytes {
            return Err(Full);
        }
        *load = sum;
        Ok(())
    }

    fn remove(&self, records: u64, bytes: u64) {
        let mut load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *load = (load.0 - records, load.1 - bytes);
    }
}

/// One sender's records. Written by the client's polling thread, read by the sender.
pub struct Parcel {
    load: Arc<Load>,
    records: u64,
    bytes: u64,
    /// Not yet reported.
    pending: AtomicU64,
    failed: Mutex<Vec<(u32, Code)>>,
    waker: AtomicWaker,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.load.remove(self.records, self.bytes);
    }
}

impl Parcel {
    /// Waits for the last report. One task at a time.
    pub fn wait(self: &Arc<Self>) -> Wait {
        Wait(self.clone())
    }

    /// What is known now.
    pub fn receipt(&self) -> Receipt {
        let pending = self.pending.load(Ordering::Acquire);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // One that fails between the two looks is counted as pending and as failed, never as delivered.
        let delivered = self.records.saturating_sub(pending).saturating_sub(failed.len() as u64);
        let failed = failed.iter().map(|(index, code)| Failure { index: *index, reason: code.to_string() }).collect();
        Receipt { delivered, failed, pending }
    }

    fn report(&self, index: u32, failure: Option<Code>) {
        if let Some(code) = failure {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((index, code));
        }
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }
}

/// What became of a parcel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Acknowledged by all replicas.
    pub delivered: u64,
    /// Refused, or not acknowledged within the patience of the courier: then it may be there all the same.
    pub failed: Vec<Failure>,
    /// Neither yet.
    pub pending: u64,
}

impl Receipt {
    /// Is every record there?
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.pending == 0
    }
}

/// One record that is not known to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The sender's.
    pub index: u32,
    /// What the client says.
    pub reason: String,
}

/// Ends with the last report of a parcel.
pub struct Wait(Arc<Parcel>);

impl Future for Wait {
    type Output = Receipt;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Receipt> {
        // First the waker, then the look: a report in between wakes us.
        self.0.waker.register(context.waker());
        if self.0.pending.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(self.0.receipt())
    }
}

/// Travels with a record through the client.
struct Tag {
    parcel: Arc<Parcel>,
    index: u32,
}

/// Hands the client's reports to their parcels.
struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "hms_ops::bus", %error, reason, "client error");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Tag>;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: Box<Tag>) {
        let failure = result.as_ref().err().map(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::Unknown));
        tag.parcel.report(tag.index, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { records: 3, bytes: 100, patience: Duration::from_millis(300) };

    fn courier() -> Courier {
        // Nobody listens there.
        Courier::new(&Settings::new("127.0.0.1:1", "test"), LIMITS).unwrap()
    }

    fn wait(parcel: &Arc<Parcel>) -> Receipt {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), parcel.wait()).await }).unwrap()
    }

    #[test]
    fn what_is_admitted_is_bounded_and_given_back_when_it_is_over() {
        let courier = courier();
        let first = courier.open(2, 10).unwrap();
        assert_eq!(courier.open(2, 10).err(), Some(Full), "records");
        assert_eq!(courier.open(1, 91).err(), Some(Full), "bytes");
        let second = courier.open(1, 90).unwrap();
        assert_eq!(courier.load(), (3, 100));
        drop(second);
        assert_eq!(courier.load(), (2, 10));
        // What is still in the client is held, though its sender is gone.
        let record = Record { topic: "t", value: Some(b"x"), ..Record::default() };
        courier.send(&record, 0, &first);
        courier.send(&record, 1, &first);
        drop(first);
        assert_eq!(courier.load(), (2, 10));
    }

    #[test]
    fn a_record_that_nobody_takes_has_failed_within_the_patience_of_the_courier() {
        let courier = courier();
        let parcel = courier.open(2, 10).unwrap();
        for index in [7, 8] {
            courier.send(&Record { topic: "t", value: Some(b"x"), ..Record::default() }, index, &parcel);
        }
        let receipt = wait(&parcel);
        assert!(!receipt.is_complete());
        assert_eq!((receipt.delivered, receipt.pending), (0, 0));
        let mut failed: Vec<_> = receipt.failed.iter().map(|failure| failure.index).collect();
        failed.sort_unstable();
        assert_eq!(failed, [7, 8], "{receipt:?}");
        // The client's thread has told of the last record, and lets go of the parcel in its own time.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&parcel) > 1 {
            assert!(std::time::Instant::now() < deadline, "the client keeps the parcel");
            std::thread::yield_now();
        }
        drop(parcel);
        assert_eq!(courier.load(), (0, 0));
    }

    #[test]
    fn an_empty_parcel_is_complete_at_once() {
        assert!(wait(&courier().open(0, 0).unwrap()).is_complete());
    }
}
