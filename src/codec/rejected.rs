//! `ops.metrics.rejected`: dead letters. Written by the processor; read by people and `ops status`.

use super::binary::{Cursor, Fault, put_blocks, put_bytes, put_count, put_long, put_optional_bytes};
use super::{Error, REJECTED};
use crate::model::reading::RejectReason;
use crate::model::rejected::{Kept, Rejected};

/// The value on the bus.
pub fn encode(rejected: &Rejected) -> Vec<u8> {
    let mut out = REJECTED.begin(128 + rejected.value.bytes.as_ref().map_or(0, Vec::len));
    put_bytes(&mut out, rejected.reason.name().as_bytes());
    put_bytes(&mut out, rejected.topic.as_bytes());
    put_long(&mut out, i64::from(rejected.partition));
    put_long(&mut out, rejected.offset);
    put_long(&mut out, rejected.append_time);
    put_kept(&mut out, &rejected.value);
    put_kept(&mut out, &rejected.key);
    put_blocks(&mut out, rejected.headers.iter(), |out, (name, value)| {
        put_bytes(out, name.as_bytes());
        put_optional_bytes(out, value.as_deref());
    });
    put_count(&mut out, rejected.headers_left_out);
    out
}

/// Reads a value of `ops.metrics.rejected`.
pub fn decode(value: &[u8]) -> Result<Rejected, Error> {
    REJECTED.read(value, |cursor| {
        Ok(Rejected {
            reason: reason(cursor)?,
            topic: cursor.string()?.to_owned(),
            partition: cursor.int()?,
            offset: cursor.long()?,
            append_time: cursor.long()?,
            value: kept(cursor)?,
            key: kept(cursor)?,
            headers: cursor.array(|cursor| Ok((cursor.string()?.to_owned(), optional_bytes(cursor)?)))?,
            headers_left_out: cursor.count()?,
        })
    })
}

fn put_kept(out: &mut Vec<u8>, kept: &Kept) {
    put_optional_bytes(out, kept.bytes.as_deref());
    put_count(out, kept.length);
    put_optional_bytes(out, kept.sha256.as_ref().map(|hash| &hash[..]));
}

fn kept(cursor: &mut Cursor<'_>) -> Result<Kept, Fault> {
    let (bytes, length) = (optional_bytes(cursor)?, cursor.count()?);
    let hash = cursor.optional(Cursor::bytes)?.map(<[u8; 32]>::try_from).transpose();
    Ok(Kept { bytes, length, sha256: hash.map_err(|_| Fault::Malformed("a SHA-256 that has not 32 bytes"))? })
}

fn optional_bytes(cursor: &mut Cursor<'_>) -> Result<Option<Vec<u8>>, Fault> {
    Ok(cursor.optional(Cursor::bytes)?.map(<[u8]>::to_vec))
}

fn reason(cursor: &mut Cursor<'_>) -> Result<RejectReason, Fault> {
    let name = cursor.string()?;
    RejectReason::ALL.into_iter().find(|reason| reason.name() == name).ok_or(Fault::Malformed("an unknown reason"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rejected::keep_headers;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..99))
    }

    proptest! {
        #[test]
        fn a_dead_letter_comes_back(
            reason in prop::sample::select(RejectReason::ALL.to_vec()),
            place in any::<(i32, i64, i64)>(),
            value in bytes(),
            key in bytes(),
            headers in prop::collection::vec((".{0,9}", bytes()), 0..4),
            length in prop::sample::select(vec![0, 32_768, 32_769, 70_000]),
        ) {
            let mut value = value;
            if let Some(value) = &mut value {
                value.resize(value.len().max(length), 1);
            }
            let kept = keep_headers(headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
            let rejected = Rejected {
                reason,
                topic: "ops.metrics".to_owned(),
                partition: place.0,
                offset: place.1,
                append_time: place.2,
                value: Kept::of(value.as_deref()),
                key: Kept::of(key.as_deref()),
                headers: kept.0,
                headers_left_out: kept.1,
            };
            let bytes = encode(&rejected);
            super::super::tests::apache_avro_reads(&REJECTED, &bytes);
            prop_assert_eq!(decode(&bytes), Ok(rejected));
        }
    }
}
