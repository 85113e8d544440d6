//! Sets a topic's configuration, past the client's safe face, which reports every refusal as a success.
//!
//! Only [`super::admin::Admin`] calls it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, NulError};
use std::os::raw::c_char;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaResourceType;

const NO_ERROR: native::rd_kafka_resp_err_t = native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Why the configuration was not set.
pub(super) struct Refused {
    pub code: Code,
    pub reason: String,
}

impl From<NulError> for Refused {
    fn from(error: NulError) -> Self {
        Self { code: Code::InvalidConfig, reason: error.to_string() }
    }
}

/// The native things of one request; each is destroyed on every way out.
struct Request {
    resource: *mut native::rd_kafka_ConfigResource_t,
    queue: *mut native::rd_kafka_queue_t,
    event: *mut native::rd_kafka_event_t,
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: each pointer is null or was given to us to destroy, once; the event goes before its queue.
        unsafe {
            if !self.event.is_null() {
                native::rd_kafka_event_destroy(self.event);
            }
            if !self.queue.is_null() {
                native::rd_kafka_queue_destroy(self.queue);
            }
            if !self.resource.is_null() {
                native::rd_kafka_ConfigResource_destroy(self.resource);
            }
        }
    }
}

/// Makes `configs` the whole configuration of `topic`.
///
/// # Safety
/// `client` is alive.
pub(super) unsafe fn set_topic_configs(
    client: *mut native::rd_kafka_t,
    topic: &str,
    configs: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<(), Refused> {
    let name = CString::new(topic)?;
    let mut request = Request { resource: ptr::null_mut(), queue: ptr::null_mut(), event: ptr::null_mut() };
    // SAFETY: the client is alive by contract; every text outlives the call that copies it; the answer's parts are
    // read while its event lives.
    unsafe {
        request.resource =
            native::rd_kafka_ConfigResource_new(RDKafkaResourceType::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
        for (key, value) in configs {
            let (key, value) = (CString::new(key.as_str())?, CString::new(value.as_str())?);
            let code = native::rd_kafka_ConfigResource_set_config(request.resource, key.as_ptr(), value.as_ptr());
            check(code, ptr::null())?;
        }
        request.queue = native::rd_kafka_queue_new(client);
        let mut resources = [request.resource];
        native::rd_kafka_AlterConfigs(client, resources.as_mut_ptr(), 1, ptr::null(), request.queue);
        let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        request.event = native::rd_kafka_queue_poll(request.queue, wait);
        if request.event.is_null() {
            return Err(Refused { code: Code::OperationTimedOut, reason: "no answer".to_owned() });
        }
        let code = native::rd_kafka_event_error(request.event);
        check(code, native::rd_kafka_event_error_string(request.event))?;
        let result = native::rd_kafka_event_AlterConfigs_result(request.event);
        let mut count = 0;
        let answers = native::rd_kafka_AlterConfigs_result_resources(result, &mut count);
        for index in 0..count {
            let answer = *answers.add(index);
            let code = native::rd_kafka_ConfigResource_error(answer);
            check(code, native::rd_kafka_ConfigResource_error_string(answer))?;
        }
    }
    Ok(())
}

/// # Safety
/// `reason` is null or a text.
unsafe fn check(code: native::rd_kafka_resp_err_t, reason: *const c_char) -> Result<(), Refused> {
    if code == NO_ERROR {
        return Ok(());
    }
    let code = Code::from(code);
    // SAFETY: by contract.
    let reason = (!reason.is_null()).then(|| unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned());
    Err(Refused { code, reason: reason.unwrap_or_else(|| code.to_string()) })
}
