//! A reference to one of the client's queues.

use std::ptr::NonNull;

use rdkafka::bindings as native;

use super::error::{Error, Place};
use super::verdict::Verdict;

/// Must be dropped before its client.
pub(super) struct Queue(NonNull<native::rd_kafka_queue_t>);

// SAFETY: the client's queues may be used, and given back, by any thread at any time.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Takes a reference over.
    ///
    /// # Errors
    /// There is none.
    pub fn own(queue: *mut native::rd_kafka_queue_t) -> Result<Self, Error> {
        let refused = || Error::judged("making a queue", Place::none(), Verdict::Fatal, "the client has none for it");
        NonNull::new(queue).map(Self).ok_or_else(refused)
    }

    pub fn as_ptr(&self) -> *mut native::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// Is nothing in it now?
    pub fn is_empty(&self) -> bool {
        // SAFETY: it is alive.
        unsafe { native::rd_kafka_queue_length(self.0.as_ptr()) == 0 }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it is not used any more. One that we have made is emptied by this, and takes nothing from now on.
        unsafe { native::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}
