//! A spec in plain words. Called by `ops check --explain`.

use crate::model::spec::Spec;

/// What will happen when.
pub fn explain(spec: &Spec) -> String {
    format!("{} of {}\n", spec.id, spec.owner)
}
