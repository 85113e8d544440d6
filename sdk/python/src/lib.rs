//! The native half of `ops_sdk`: what must be quick, and what needs the bus. The Python half, beside it in `ops_sdk/`, is
//! what programs import; nobody else calls this.
use pyo3::prelude::*;

/// `ops_sdk._native`.
#[pymodule]
mod _native {
    /// Of the wheel.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
