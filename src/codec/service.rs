//! `ops.services`: specs as they were registered. Written by `ops register`; read by the processor and whoever
//! shows or checks services. A null value (unregister) never comes here.

use super::{Error, SERVICE_SPEC, flat};
use crate::model::registration::Registration;

/// The value on the bus.
pub fn encode(registration: &Registration) -> Vec<u8> {
    flat::encode(&SERVICE_SPEC, registration)
}

/// Reads a value of `ops.services`.
pub fn decode(value: &[u8]) -> Result<Registration, Error> {
    flat::decode(&SERVICE_SPEC, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceId;

    #[test]
    fn a_registration_comes_back_byte_for_byte() {
        let registration = Registration {
            service: ServiceId::new("DCA_Luggage_Scanner").unwrap(),
            owner: "TSA".to_owned(),
            text: "id: x\r\n# \u{feff}\u{0}ü\n".to_owned(),
            registered_at: -1,
            by: String::new(),
        };
        assert_eq!(decode(&encode(&registration)), Ok(registration));
    }

    #[test]
    fn a_service_id_that_breaks_the_rule_is_malformed() {
        let bad = serde_json::json!({"service": "../x", "owner": "", "text": "", "registered_at": 0, "by": ""});
        let error = decode(&flat::encode(&SERVICE_SPEC, &bad)).unwrap_err();
        assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("../x")), "{error}");
    }
}
