//! `emit`, and what became of the readings. `emit` holds the interpreter for about as long as a call of an empty function
//! takes, and waits for nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use hms_ops::model::reading::{Attributes, Reading};
use hms_ops::sdk::buffer::{Counts, Taken};
use hms_ops::telemetry::clock::now_ms;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::{errors, service, session};

/// Between two lines in the log about readings that found no room, ms.
const COMPLAIN_EVERY_MS: i64 = 10_000;

/// Counts, by name.
#[derive(IntoPyObject)]
pub struct CountsDict {
    emitted: u64,
    delivered: u64,
    refused: BTreeMap<&'static str, u64>,
    failed: BTreeMap<String, u64>,
    dropped: u64,
    pending: u64,
}

impl From<Counts> for CountsDict {
    fn from(counts: Counts) -> Self {
        let emitted = counts.emitted();
        let Counts { delivered, refused, failed, dropped, pending } = counts;
        let refused = refused.into_iter().map(|(reason, n)| (reason.name(), n)).collect();
        Self { emitted, delivered, refused, failed, dropped, pending }
    }
}

/// Emits one reading of a sensor. Never waits: a thread sends it.
///
/// `value` is in the sensor's unit. `ts` is when it was measured, in ms since the Unix epoch; now, if it is not given. `service`
/// is the id of the service; else the one that was registered last in this process, else `OPS_SERVICE`, else that of the
/// only `*.ops.yaml` in the working directory. Everything else are attributes of the reading (`pod="scanner-1"`), texts that
/// decide nothing and are handed to actions.
///
/// Answers whether there was room in the buffer. If not the reading is lost, and counted as `dropped` (`stats`, `flush`, and a
/// line on stderr at the end of the program).
///
/// Raises `InvalidReading`, `NoService`; `UnknownService` and `UnknownSensor` once that is known: names are looked up behind the
/// caller's back, so the first readings of a wrong name are taken, and counted as `refused`.
#[pyfunction]
#[pyo3(signature = (sensor, value, *, ts=None, service=None, **attributes))]
pub fn emit(
    py: Python<'_>,
    sensor: &str,
    value: f64,
    ts: Option<i64>,
    service: Option<&str>,
    attributes: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    let session = session::current(py)?;
    let default;
    let service = match service {
        Some(service) => service,
        None => {
            default = service::default(py)?;
            &default
        }
    };
    let reading = Reading {
        service: service.into(),
        sensor: sensor.into(),
        ts: ts.unwrap_or_else(now_ms),
        value,
        attributes: attributes.map_or_else(|| Ok(Attributes::new()), texts)?,
    };
    match session.buffer.emit(&reading) {
        Ok(Taken::Yes) => Ok(true),
        Ok(Taken::Dropped) => complain(py, &session).map(|()| false),
        Err(refused) => Err(errors::of_reading(py, &refused)),
    }
}

/// Attributes are texts; what is none is given as `str` shows it.
fn texts(attributes: &Bound<'_, PyDict>) -> PyResult<Attributes<'static>> {
    let text = |value: &Bound<'_, PyAny>| match value.cast::<PyString>() {
        Ok(text) => text.extract::<String>(),
        Err(_) => value.str()?.extract::<String>(),
    };
    attributes.iter().map(|(name, value)| Ok((name.extract::<String>()?.into(), text(&value)?.into()))).collect()
}

/// Says in the log, now and then, that readings find no room.
#[cold]
fn complain(py: Python<'_>, session: &session::Session) -> PyResult<()> {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = now_ms();
    if now - LAST.load(Ordering::Relaxed) < COMPLAIN_EVERY_MS {
        return Ok(());
    }
    LAST.store(now, Ordering::Relaxed);
    let counts: CountsDict = session.buffer.counts().into();
    py.import("ops_sdk._report")?.call_method1("dropped", (counts, session.buffer.capacity()))?;
    Ok(())
}

/// Waits until all that was emitted is settled; counts since the last flush. Ctrl-C ends the wait.
#[pyfunction]
pub fn flush(py: Python<'_>, timeout: f64) -> PyResult<CountsDict> {
    let timeout = session::seconds(py, timeout)?;
    let session = session::current(py)?;
    let mut interrupted = Ok(());
    let counts = py.detach(|| {
        session.buffer.flush_while(timeout, || {
            interrupted = Python::attach(|py| py.check_signals());
            interrupted.is_ok()
        })
    });
    interrupted.map(|()| counts.into())
}

/// What became of all readings that this process has emitted so far, or since the last `configure`. In a forked child: since
/// the fork.
#[pyfunction]
pub fn stats(py: Python<'_>) -> PyResult<CountsDict> {
    Ok(session::current(py)?.buffer.counts().into())
}

/// The end of the program: flushes, and takes nothing more. `None` if nothing was ever used.
#[pyfunction]
pub fn close(py: Python<'_>) -> Option<CountsDict> {
    let session = session::existing()?;
    Some(py.detach(|| session.buffer.close(session.exit_timeout)).into())
}
