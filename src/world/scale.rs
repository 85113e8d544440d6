//! The words that the scale driver and the guards of scaling share: what a workload looks like at one moment.
//! Plain data, no client: the guards are pure and know only this.

use std::fmt;

/// A workload as it was read, all from one version of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleState {
    /// Identity: another one means deleted and made again.
    pub uid: String,
    /// Grows with every change of the object's spec, not with status.
    pub generation: i64,
    /// Version of the object; a write that names it is refused (409) once anything has changed.
    pub resource_version: String,
    /// Replicas that are asked for (`spec`).
    pub replicas: u32,
    /// Replicas that are ready; `None` where the kind does not say.
    pub ready: Option<u32>,
    /// Who else decides the number of replicas.
    pub managed_by: Option<Owner>,
}

/// A controller that owns `spec.replicas` of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A HorizontalPodAutoscaler of this name.
    Hpa(String),
    /// A KEDA ScaledObject of this name.
    Keda(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hpa(name) => write!(f, "horizontalpodautoscaler/{name}"),
            Self::Keda(name) => write!(f, "scaledobject/{name}"),
        }
    }
}

/// What a write of the scale subresource answered. (It carries no generation: read again to know it.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// Identity of the object that was written.
    pub uid: String,
    /// Its version after the write.
    pub resource_version: String,
    /// Replicas that are asked for now.
    pub replicas: u32,
}
