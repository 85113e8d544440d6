//! Whose is it? An effect that takes long does not know whether another member has taken over meanwhile: the process may
//! have stood still (stopped, or on a machine that slept). It asks here and waits; the loop answers after its next
//! commit, which the group would have refused to one whose place is taken.
//!
//! Asked by effects on the runtime, answered by [`super::desk`].

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::model::ActionId;

/// Who asks.
#[derive(Debug, Default)]
pub struct Claims {
    asking: Mutex<BTreeMap<ActionId, oneshot::Sender<()>>>,
}

impl Claims {
    /// Waits until it is certain that the action is still ours. If it is not, this never returns: whoever waits is
    /// called off.
    pub async fn confirm(&self, action: ActionId) {
        let (sender, answer) = oneshot::channel();
        self.lock().insert(action, sender);
        if answer.await.is_err() {
            pending().await
        }
    }

    /// Actions that somebody waits for. A commit that begins after this answers them.
    pub(super) fn asking(&self) -> Vec<ActionId> {
        let mut asking = self.lock();
        asking.retain(|_, sender| !sender.is_closed());
        asking.keys().copied().collect()
    }

    /// It is still ours.
    pub(super) fn prove(&self, action: &ActionId) {
        if let Some(sender) = self.lock().remove(action) {
            // Whoever asked was called off meanwhile.
            let _ = sender.send(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ActionId, oneshot::Sender<()>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
