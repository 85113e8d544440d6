//! The driver of Kubernetes: on a simulated API in plain `cargo test`, and the same on a real one beside
//! `tests/kubernetes/run`, so that the two are held to the same behaviour. What only a real one can show is ignored
//! without it: `tests/kubernetes/run cargo test --test kubernetes -- --include-ignored`.
//!
//! The autoscaler as a whole, with Kafka, does the same in `tests/kafka/actors.rs` and `actors_kubernetes.rs`, the
//! demo in `tests/demo.rs`.

#[path = "kubernetes/cluster.rs"]
mod cluster;
#[path = "kubernetes/kubectl.rs"]
mod kubectl;
#[path = "kubernetes/real.rs"]
mod real;
#[path = "kubernetes/scale.rs"]
mod scale;
