//! Which cluster this process talks to, and its one buffer. From the environment, until `configure` says otherwise.
//!
//! The lock here is only held by a thread that is attached to the interpreter, and never while it detaches: so it is free at
//! every fork that the interpreter makes.

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hms_ops::bus::Settings;
use hms_ops::model::topics::Topics;
use hms_ops::sdk::Buffer;
use hms_ops::sdk::buffer::DEFAULT_CAPACITY;
use pyo3::prelude::*;

use crate::{errors, service};

/// Without `OPS_BROKERS`.
const DEFAULT_BROKERS: &str = "127.0.0.1:9092";
/// Without `OPS_VAULT`.
const DEFAULT_VAULT: &str = "./vault";
/// How long the end of a program waits for what is still in the buffer.
const DEFAULT_EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How this client is called in the brokers' logs.
const CLIENT: &str = "ops-sdk-python";

/// See the module.
pub struct Session {
    pub settings: Settings,
    pub topics: Topics,
    pub buffer: Buffer,
    pub vault: String,
    pub exit_timeout: Duration,
}

static CURRENT: Mutex<Option<Arc<Session>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Arc<Session>>> {
    // A panic while it was held cannot leave it half written.
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session that is there, if any.
pub fn existing() -> Option<Arc<Session>> {
    lock().clone()
}

/// The session; the first call makes it.
pub fn current(py: Python<'_>) -> PyResult<Arc<Session>> {
    let mut current = lock();
    if let Some(session) = &*current {
        return Ok(session.clone());
    }
    let session = Arc::new(Session::new(py, Choice::default())?);
    *current = Some(session.clone());
    Ok(session)
}

/// What `configure` was given; the rest is the environment's.
#[derive(Default)]
struct Choice {
    brokers: Option<String>,
    topic_prefix: Option<String>,
    vault: Option<String>,
    capacity: Option<usize>,
    exit_timeout: Option<f64>,
    kafka: BTreeMap<String, String>,
}

impl Session {
    fn new(py: Python<'_>, choice: Choice) -> PyResult<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
        let or = |given: Option<String>, name: &str, default: &str| {
            given.or_else(|| variable(name)).unwrap_or_else(|| default.to_owned())
        };
        let brokers = or(choice.brokers, "OPS_BROKERS", DEFAULT_BROKERS);
        let topics = Topics::new(&or(choice.topic_prefix, "OPS_TOPIC_PREFIX", ""));
        let settings = Settings::new(&brokers, CLIENT).with_overrides(&choice.kafka, |name| env::var(name).ok());
        let settings = settings.map_err(|error| errors::plain(py, "ConfigError", &error.to_string()))?;
        let exit_timeout = choice.exit_timeout.map_or(Ok(DEFAULT_EXIT_TIMEOUT), |s| seconds(py, s))?;
        Ok(Self {
            buffer: Buffer::new(&settings, &topics, choice.capacity.unwrap_or(DEFAULT_CAPACITY)),
            settings,
            topics,
            vault: or(choice.vault, "OPS_VAULT", DEFAULT_VAULT),
            exit_timeout,
        })
    }
}

/// A timeout in seconds.
pub fn seconds(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| errors::plain(py, "ConfigError", &format!("{seconds} is no time to wait, in seconds")))
}

/// Begins a new session. The old one's buffer is flushed first, for up to its `exit_timeout`; the answer is what became of its
/// readings.
#[pyfunction]
#[pyo3(signature = (*, brokers=None, topic_prefix=None, vault=None, capacity=None, exit_timeout=None, kafka=None))]
pub fn configure(
    py: Python<'_>,
    brokers: Option<String>,
    topic_prefix: Option<String>,
    vault: Option<String>,
    capacity: Option<usize>,
    exit_timeout: Option<f64>,
    kafka: Option<BTreeMap<String, String>>,
) -> PyResult<Option<crate::emit::CountsDict>> {
    let kafka = kafka.unwrap_or_default();
    let choice = Choice { brokers, topic_prefix, vault, capacity, exit_timeout, kafka };
    let session = Arc::new(Session::new(py, choice)?);
    let before = lock().replace(session);
    service::forget();
    Ok(before.map(|before| py.detach(|| before.buffer.close(before.exit_timeout)).into()))
}
