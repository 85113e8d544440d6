//! Calls that wait for the cluster or the disk: register, status, find in the vault. They detach from the interpreter, so that
//! other threads go on.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hms_ops::model::network::Networks;
use hms_ops::sdk::{self, Activation, register::Options};
use hms_ops::spec::{self, Finding};
use hms_ops::vault::decode::ByTopic;
use hms_ops::vault::find::Query;
use hms_ops::vault::json::to_json;
use hms_ops::vault::{Vault, VaultError};
use pyo3::prelude::*;

use crate::{errors, service, session};

/// What registering did.
#[derive(IntoPyObject)]
pub struct RegisteredDict {
    id: String,
    owner: String,
    /// Does the processor judge by it? `None` if it was not waited for.
    active: Option<bool>,
    warnings: Vec<String>,
}

/// Registers the spec in a file: see `ops_sdk.register`.
#[pyfunction]
pub fn register(py: Python<'_>, path: PathBuf, force: bool, wait: f64, allow: Vec<String>) -> PyResult<RegisteredDict> {
    let networks = allow.iter().map(|network| network.parse()).collect::<Result<Networks, _>>();
    let networks = networks.map_err(|why| errors::plain(py, "ConfigError", &format!("allow: {why}")))?;
    let wait = Some(session::seconds(py, wait)?).filter(|wait| *wait > Duration::ZERO);
    let bytes = fs::read(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    let checked = spec::lint_bytes(&bytes, &networks);
    let checked =
        checked.map_err(|findings| errors::of_spec(py, &format!("{}: {findings}", path.display()), &findings))?;
    let session = session::current(py)?;
    let by = std::env::var("USER").unwrap_or_default();
    let options = Options { force, dry_run: false, wait, by, networks };
    let registered = py
        .detach(|| sdk::register(&session.settings, &session.topics, &text, &options))
        .map_err(|error| errors::of_sdk(py, error))?;
    session.buffer.forget_refusals();
    service::registered(registered.id.as_str());
    let active = match registered.activation {
        Activation::Done | Activation::Already => Some(true),
        Activation::NotSeen => Some(false),
        Activation::NotAwaited => None,
    };
    let warnings = registered.warnings.iter().map(Finding::to_string).collect();
    Ok(RegisteredDict { id: registered.id.to_string(), owner: checked.spec.owner, active, warnings })
}

/// How a service is, as JSON: see `ops_sdk.status`.
#[pyfunction]
pub fn status(py: Python<'_>, service: &str) -> PyResult<String> {
    let session = session::current(py)?;
    let status = py.detach(|| sdk::status(&session.settings, &session.topics, service));
    json(py, serde_json::to_string(&status.map_err(|error| errors::of_sdk(py, error))?))
}

/// Looks into the vault; a JSON array: see `ops_sdk.dta.find`. Times are append times, ms.
#[pyfunction]
pub fn find(
    py: Python<'_>,
    vault: Option<String>,
    topic: Option<String>,
    service: Option<String>,
    kind: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
) -> PyResult<String> {
    let vault = vault.map_or_else(|| session::current(py).map(|session| session.vault.clone()), Ok)?;
    let query = Query { topic, service, kind, from: since, to: until };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let findings = py.detach(|| {
        let vault = Vault::open(&vault)?;
        let mut findings = runtime.block_on(hms_ops::vault::find::find(&vault, &query, &ByTopic))?;
        // Half an answer would look like a whole one.
        findings.damage.pop().map_or(Ok(findings.found), Err)
    });
    let found = findings.map_err(|error: VaultError| errors::of_vault(py, &error))?;
    json(py, serde_json::to_string(&found.iter().map(|found| to_json(found, false)).collect::<Vec<_>>()))
}

fn json(py: Python<'_>, text: Result<String, serde_json::Error>) -> PyResult<String> {
    text.map_err(|error| errors::plain(py, "OpsError", &error.to_string()))
}
