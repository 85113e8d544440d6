//! A producer whose events (logs, errors, reports of delivery) a thread of its own serves, so that deliveries, aborts and
//! flushes go on while nobody polls.
//!
//! The client's own threaded producer does the same, but looks whether something has come instead of being told: its
//! calls of 100 ms count whole milliseconds, so it spins through the last of each, a hundredth of a core for every
//! producer for ever. This thread sleeps until something is there.

use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::error::{Error, Place};
use super::queue::Queue;
use super::verdict::Verdict;

/// See the module. Dropped, it ends its thread at once, and throws away what is not delivered.
pub(super) struct Served<C: ProducerContext + 'static> {
    events: Arc<Events<C>>,
    stop: Arc<AtomicBool>,
    /// Whom the client wakes: it holds the address of this.
    sleeper: Box<Thread>,
    thread: Option<JoinHandle<()>>,
}

/// A client, and the queue of what it has to say.
struct Events<C: ProducerContext> {
    queue: Queue,
    client: BaseProducer<C>,
    /// Held by whoever serves an event: when it is free, none is half served.
    serving: Mutex<()>,
}

impl<C: ProducerContext> Events<C> {
    /// Serves one event. Says whether there was one.
    fn serve(&self) -> bool {
        let _serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = !self.queue.is_empty();
        if is_there {
            self.client.poll(Duration::ZERO);
        }
        is_there
    }
}

impl<C: ProducerContext + Send + Sync + 'static> Served<C> {
    /// Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// Wrong settings; no thread.
    pub fn new(config: &ClientConfig, context: C) -> Result<Self, Error> {
        let failed = "creating a producer";
        let client: BaseProducer<C> =
            config.create_with_context(context).map_err(Error::client(failed, Place::none()))?;
        // SAFETY: the client is alive, and outlives the queue.
        let queue = Queue::own(unsafe { native::rd_kafka_queue_get_main(client.client().native_ptr()) })?;
        let events = Arc::new(Events { queue, client, serving: Mutex::new(()) });
        let stop = Arc::new(AtomicBool::new(false));
        let work = {
            let (events, stop) = (events.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Acquire) {
                    if !events.serve() {
                        thread::park();
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name("producer events".to_owned())
            .spawn(work)
            .map_err(|error| Error::judged(failed, Place::none(), Verdict::Fatal, error))?;
        let sleeper = Box::new(thread.thread().clone());
        let opaque: *const Thread = &raw const *sleeper;
        // SAFETY: the queue is alive; so is what the callback is given until it is taken back in `drop`.
        unsafe { native::rd_kafka_queue_cb_event_enable(events.queue.as_ptr(), Some(wake), opaque.cast_mut().cast()) };
        // What came before that told nobody.
        sleeper.unpark();
        Ok(Self { events, stop, sleeper, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Served<C> {
    /// What the client has said before this call is served when it returns.
    pub fn serve_all(&self) {
        while self.events.serve() {}
    }
}

impl<C: ProducerContext + 'static> Deref for Served<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.events.client
    }
}

impl<C: ProducerContext + 'static> Drop for Served<C> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.sleeper.unpark();
        // A panic there was told by itself.
        let _ = self.thread.take().map(JoinHandle::join);
        // SAFETY: the queue is alive. The client calls back under the lock that this takes, so not afterwards.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.events.queue.as_ptr(), None, std::ptr::null_mut()) };
    }
}

/// The client calls this when its empty queue gets something, with the queue locked: it must not wait, nor call the client.
unsafe extern "C" fn wake(_: *mut native::rd_kafka_t, sleeper: *mut c_void) {
    if let Some(sleeper) = NonNull::new(sleeper.cast::<Thread>()) {
        // SAFETY: it lives until the callback is taken back.
        unsafe { sleeper.as_ref() }.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use rdkafka::ClientContext;
    use rdkafka::config::RDKafkaLogLevel;
    use rdkafka::message::DeliveryResult;

    use super::*;
    use crate::bus::record::Record;
    use crate::bus::settings::Settings;

    const PATIENCE: Duration = Duration::from_secs(60);

    struct Heard {
        tell: Sender<&'static str>,
        /// Whoever hears the first log line waits here.
        gate: Arc<Mutex<()>>,
        has_logged: AtomicBool,
    }

    impl ClientContext for Heard {
        fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
            let _ = self.tell.send("log");
            if !self.has_logged.swap(true, Ordering::Relaxed) {
                let _open = self.gate.lock().unwrap();
            }
        }
    }

    impl ProducerContext for Heard {
        type DeliveryOpaque = ();

        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
            let _ = self.tell.send("report");
        }
    }

    /// Nobody listens there: the connection is refused, and records are given up.
    fn nowhere(gate: &Arc<Mutex<()>>) -> (Served<Heard>, Receiver<&'static str>) {
        let mut config = Settings::new("127.0.0.1:1", "test").producer();
        config.set("message.timeout.ms", "300").set("debug", "broker");
        let (tell, heard) = channel();
        (Served::new(&config, Heard { tell, gate: gate.clone(), has_logged: AtomicBool::new(false) }).unwrap(), heard)
    }

    fn await_all(heard: &Receiver<&'static str>, mut wanted: Vec<&str>) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted.is_empty() {
            let what = heard.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
            wanted.retain(|wanted| *wanted != what);
        }
    }

    #[test]
    fn what_the_client_says_is_heard_though_nobody_polls() {
        let (producer, heard) = nowhere(&Arc::default());
        let record = Record { topic: "t", value: Some(b"x"), ..Record::default() };
        assert!(producer.send(record.outgoing(())).is_ok());
        await_all(&heard, vec!["log", "report"]);
        drop(producer);
        // The context is gone with it, and so is the thread.
        while heard.recv_timeout(PATIENCE).is_ok() {}
        assert!(heard.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn all_is_served_only_when_the_thread_has_done_with_what_it_took() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let (producer, heard) = nowhere(&gate);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok("log"), "the thread has taken it");
        thread::scope(|scope| {
            let (done, is_done) = channel();
            let producer = &producer;
            scope.spawn(move || {
                producer.serve_all();
                done.send(()).unwrap();
            });
            assert!(is_done.recv_timeout(Duration::from_millis(300)).is_err(), "it is half served");
            drop(closed);
            assert!(is_done.recv_timeout(PATIENCE).is_ok());
        });
    }
}
