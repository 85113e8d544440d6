//! The native half of `ops_sdk`: what must be quick, and what needs the bus. The Python half, in `python/ops_sdk`, is what
//! programs import; nobody else calls this.
//!
//! - [`emit`]: the hot path; [`session`]: which cluster, and the buffer; [`service`]: of which service, if nobody says.
//! - [`ask`]: calls that wait for the cluster or the disk; they let other threads of the interpreter go on.
//! - [`errors`]: errors of the library as the exceptions of `ops_sdk.errors`.

mod ask;
mod emit;
mod errors;
mod service;
mod session;

use pyo3::prelude::*;

/// `ops_sdk._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::ask::{find, register, status};
    #[pymodule_export]
    use super::emit::{close, emit, flush, stats};
    #[pymodule_export]
    use super::service::default_service;
    #[pymodule_export]
    use super::session::configure;

    /// Of the wheel.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
