//! A record of `ops.services`: a spec as somebody registered it. Not parsed: that is [`super::spec::Spec`].
//!
//! Written by `ops register`; read by the processor, `ops services`, `ops emit` and the war room. A record
//! without a value unregisters the service.

use serde::{Deserialize, Serialize};

use super::ids::ServiceId;

/// One registered spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The service; also the record's key.
    pub service: ServiceId,
    /// Who owns it, as the spec says.
    pub owner: String,
    /// The `*.ops.yaml`, byte for byte.
    pub text: String,
    /// When, ms, by the clock of who registered it. For people; decides nothing.
    pub registered_at: i64,
    /// Who registered it.
    pub by: String,
}
