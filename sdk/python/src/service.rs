//! Of which service a reading is, if nobody says: the one that was registered last in this process, else `OPS_SERVICE`, else
//! that of the only `*.ops.yaml` in the working directory. What was found holds until something is registered or configured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, fs};

use hms_ops::spec;
use pyo3::prelude::*;

use crate::errors;

/// How the file of a spec ends.
const SUFFIX: &str = ".ops.yaml";

/// Held as [`crate::session`] says.
static FOUND: Mutex<Found> = Mutex::new(Found { registered: None, guessed: None });

struct Found {
    registered: Option<Arc<str>>,
    guessed: Option<Arc<str>>,
}

fn lock() -> MutexGuard<'static, Found> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This one was registered last.
pub fn registered(id: &str) {
    lock().registered = Some(id.into());
}

/// Another environment may hold now.
pub fn forget() {
    lock().guessed = None;
}

/// Of which service?
pub fn default(py: Python<'_>) -> PyResult<Arc<str>> {
    let mut found = lock();
    if let Some(id) = found.registered.as_ref().or(found.guessed.as_ref()) {
        return Ok(id.clone());
    }
    let id = match env::var("OPS_SERVICE") {
        Ok(id) if !id.is_empty() => Arc::from(id),
        _ => of_directory(py)?,
    };
    found.guessed = Some(id.clone());
    Ok(id)
}

/// The id in the only spec of the working directory.
fn of_directory(py: Python<'_>) -> PyResult<Arc<str>> {
    let entries = fs::read_dir(".").into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(SUFFIX));
    names.sort();
    let [name] = names.as_slice() else {
        let here = if names.is_empty() { "there is none".to_owned() } else { format!("here are {}", names.join(", ")) };
        let message = format!(
            "of which service? ops.register(...) one first, or set OPS_SERVICE, or have exactly one *{SUFFIX} in the working \
             directory ({here}); or say service=..."
        );
        return Err(errors::plain(py, "NoService", &message));
    };
    let text = fs::read(name)?;
    // Where it may be scraped was asked when it was registered.
    match spec::parse(&String::from_utf8_lossy(&text)) {
        Ok(checked) => Ok(checked.spec.id.shared()),
        Err(findings) => Err(errors::of_spec(py, &format!("{name}: {findings}"), &findings)),
    }
}

/// Of which service a reading is, if nobody says.
#[pyfunction]
pub fn default_service(py: Python<'_>) -> PyResult<String> {
    Ok(default(py)?.to_string())
}
