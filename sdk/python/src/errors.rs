//! Errors of the library as the exceptions of `ops_sdk.errors`, with their fields. What the classes are for is told there.

use hms_ops::sdk::emit::Refused;
use hms_ops::sdk::{Error, UnknownService};
use hms_ops::spec::{Findings, Severity};
use hms_ops::vault::VaultError;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::PyAnyMethods;

/// An instance of a class of `ops_sdk.errors`, made of a message and the fields that it has.
fn instance<'py>(py: Python<'py>, class: &str, fields: impl PyCallArgs<'py>) -> PyErr {
    let make = || py.import("ops_sdk.errors")?.getattr(class)?.call1(fields);
    make().map_or_else(|error| error, PyErr::from_value)
}

/// An error without fields.
pub fn plain(py: Python<'_>, class: &str, message: &str) -> PyErr {
    instance(py, class, (message,))
}

/// What a call of the SDK answers.
pub fn of_sdk(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Bus(_) => plain(py, "BusError", &message),
        Error::Spec(findings) => of_spec(py, &message, &findings),
        Error::OtherOwner { service, owner, claimed } => {
            instance(py, "OtherOwner", (message, service.as_str(), owner, claimed))
        }
        Error::UnknownService(unknown) => of_service(py, &message, &unknown),
        Error::NotDelivered { .. } => plain(py, "NotDelivered", &message),
    }
}

/// Why a text is no spec.
pub fn of_spec(py: Python<'_>, message: &str, findings: &Findings) -> PyErr {
    let all = findings.0.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        (severity, finding.line, finding.column, finding.message.as_str(), finding.help.as_deref())
    });
    instance(py, "SpecError", (message, all.collect::<Vec<_>>()))
}

fn of_service(py: Python<'_>, message: &str, unknown: &UnknownService) -> PyErr {
    instance(py, "UnknownService", (message, &unknown.name, unknown.near.as_deref()))
}

/// Why a reading was not taken.
pub fn of_reading(py: Python<'_>, refused: &Refused) -> PyErr {
    let message = refused.to_string();
    match refused {
        Refused::UnknownService(unknown) => of_service(py, &message, unknown),
        Refused::UnknownSensor { service, name, near } => {
            instance(py, "UnknownSensor", (message, service.as_str(), name, near.as_deref()))
        }
        _ => plain(py, "InvalidReading", &message),
    }
}

/// Why the vault gives nothing.
pub fn of_vault(py: Python<'_>, error: &VaultError) -> PyErr {
    // With its causes: what the system says stands in the last.
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    plain(py, "VaultError", &message)
}
