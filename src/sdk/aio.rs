//! The calls that wait, for programs inside of a tokio runtime: each runs on a thread for blocking work. [`Buffer::emit`] waits
//! for nothing and needs no such face.
//!
//! A future that is dropped is not waited for any more; what it began goes on.

use std::sync::Arc;
use std::time::Duration;

use super::buffer::Counts;
use super::register::Options;
use super::{Activation, Buffer, Error, Registered, Status};
use crate::bus::Settings;
use crate::model::ServiceId;
use crate::model::topics::Topics;

/// [`super::register()`].
///
/// # Errors
/// As there.
pub async fn register(
    settings: &Settings,
    topics: &Topics,
    text: &str,
    options: &Options,
) -> Result<Registered, Error> {
    let (settings, topics, text, options) = (settings.clone(), topics.clone(), text.to_owned(), options.clone());
    apart(move || super::register(&settings, &topics, &text, &options)).await
}

/// [`super::unregister`].
///
/// # Errors
/// As there.
pub async fn unregister(
    settings: &Settings,
    topics: &Topics,
    id: &str,
    wait: Option<Duration>,
) -> Result<(ServiceId, Activation), Error> {
    let (settings, topics, id) = (settings.clone(), topics.clone(), id.to_owned());
    apart(move || super::unregister(&settings, &topics, &id, wait)).await
}

/// [`super::status()`].
///
/// # Errors
/// As there.
pub async fn status(settings: &Settings, topics: &Topics, service: &str) -> Result<Status, Error> {
    let (settings, topics, service) = (settings.clone(), topics.clone(), service.to_owned());
    apart(move || super::status(&settings, &topics, &service)).await
}

/// [`Buffer::flush`].
pub async fn flush(buffer: &Arc<Buffer>, timeout: Duration) -> Counts {
    let buffer = buffer.clone();
    apart(move || buffer.flush(timeout)).await
}

/// Runs it on a thread that may wait.
async fn apart<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("blocking work is not cancelled while it is awaited: {error}"),
        },
    }
}
