//! What the clients of one process know of schema ids, and whom they ask for others. The bus carries it with its
//! [`Settings`] to wherever records go out and come in; who asks the registry is [`crate::registry`]'s business.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::error::{Error, Place};
use super::settings::Settings;
use crate::codec::ids::Ids;

/// Answers what schema ids name. Shared by all clients of a process.
pub trait Schemas: Send + Sync {
    /// What is known now.
    fn ids(&self) -> Arc<Ids>;

    /// Has the registry asked for these, waits for its answers up to `patience`, and gives what is known then. What is
    /// not answered yet goes on being asked for.
    fn ask(&self, wanted: &BTreeSet<u32>, patience: Duration) -> Arc<Ids>;
}

/// Without a registry nothing is framed and nothing is asked for.
static NONE: LazyLock<Arc<Ids>> = LazyLock::new(Arc::default);

impl Settings {
    /// What is known of schema ids now.
    pub fn ids(&self) -> Arc<Ids> {
        self.schemas().map_or_else(|| NONE.clone(), |schemas| schemas.ids())
    }

    /// As [`Schemas::ask`].
    pub fn ask(&self, wanted: &BTreeSet<u32>, patience: Duration) -> Arc<Ids> {
        self.schemas().map_or_else(|| NONE.clone(), |schemas| schemas.ask(wanted, patience))
    }
}

/// The ids of a log that is read from end to end, where every record must be understood before the next.
pub struct Frames {
    settings: Settings,
    ids: Arc<Ids>,
    patience: Duration,
}

impl Frames {
    /// Waits for each answer up to `patience`.
    pub fn new(settings: &Settings, patience: Duration) -> Self {
        Self { settings: settings.clone(), ids: settings.ids(), patience }
    }

    /// By which `value` can be read.
    ///
    /// # Errors
    /// `Retry`: the registry does not say what its id names. It can not be told how the record would be judged.
    pub fn of(&mut self, value: Option<&[u8]>) -> Result<&Ids, Error> {
        if let Some(id) = value.and_then(|value| self.ids.unknown(value)) {
            self.ids = self.settings.ask(&[id].into(), self.patience);
            if !self.ids.knows(id) {
                let operation = "asking the schema registry for an id";
                return Err(Error::TimedOut { operation, place: Place::none(), waited: self.patience });
            }
        }
        Ok(&self.ids)
    }
}
