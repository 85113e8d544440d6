//! Specs by their texts, each parsed once: a state holds the text of every spec, and whoever takes a partition over mostly
//! has them parsed, as they are registered. Parsing is a function of the text, so it does not matter who did it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::spec::Spec;
use crate::model::{ServiceId, SpecHash};
use crate::processor::cut::RestoreError;

/// See the module.
#[derive(Debug, Default)]
pub struct Specs(HashMap<SpecHash, Arc<Spec>>);

impl Specs {
    /// The spec of this text; `service` says whose it is to the reader of an error.
    ///
    /// # Errors
    /// It does not parse (any more).
    pub(super) fn parse(&mut self, service: &ServiceId, text: &str) -> Result<Arc<Spec>, RestoreError> {
        let hash = SpecHash::of(text);
        if let Some(spec) = self.0.get(&hash) {
            return Ok(spec.clone());
        }
        let checked = crate::spec::parse(text)
            .map_err(|findings| RestoreError::Spec { service: service.clone(), reason: findings.to_string() })?;
        Ok(self.0.entry(hash).or_insert(Arc::new(checked.spec)).clone())
    }
}

impl FromIterator<Arc<Spec>> for Specs {
    fn from_iter<I: IntoIterator<Item = Arc<Spec>>>(specs: I) -> Self {
        Self(specs.into_iter().map(|spec| (spec.hash, spec)).collect())
    }
}
