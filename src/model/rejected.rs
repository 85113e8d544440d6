//! A dead letter: a record of `ops.metrics` that was refused, with all that is needed to see why.
//!
//! Written by the processor in the transaction that passes the record; read by people and `ops status`.

use sha2::{Digest, Sha256};

use super::reading::RejectReason;

/// What is larger is cut, bytes.
pub const KEEP_WHOLE: usize = 32 * 1024;
/// How much of it is kept, bytes.
pub const KEEP_OF_LARGE: usize = 1024;

/// Names and values of a record's headers, in order.
pub type HeaderList = Vec<(String, Option<Vec<u8>>)>;

/// One record of `ops.metrics.rejected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The first reason that applies.
    pub reason: RejectReason,
    /// Where the record was.
    pub topic: String,
    /// Where the record was.
    pub partition: i32,
    /// Where the record was.
    pub offset: i64,
    /// When the broker appended it, ms.
    pub append_time: i64,
    /// Its value.
    pub value: Kept,
    /// Its key.
    pub key: Kept,
    /// Its headers in order.
    pub headers: HeaderList,
    /// How many headers were left out, because all together were too large.
    pub headers_left_out: u64,
}

/// Bytes of a refused record, whole or cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All of them, or the first [`KEEP_OF_LARGE`]; none if the record had none.
    pub bytes: Option<Vec<u8>>,
    /// How many there were.
    pub length: u64,
    /// SHA-256 of all of them, if they were cut.
    pub sha256: Option<[u8; 32]>,
}

impl Kept {
    /// Keeps `bytes` whole if they are at most [`KEEP_WHOLE`] long, else their beginning.
    pub fn of(bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => Self::default(),
            Some(all) if all.len() <= KEEP_WHOLE => {
                Self { bytes: Some(all.to_vec()), length: all.len() as u64, sha256: None }
            }
            Some(all) => Self {
                bytes: Some(all[..KEEP_OF_LARGE].to_vec()),
                length: all.len() as u64,
                sha256: Some(Sha256::digest(all).into()),
            },
        }
    }
}

/// The headers that are kept, and how many are not: all of them if together they are at most [`KEEP_WHOLE`]
/// long, else the first that fit into [`KEEP_OF_LARGE`].
pub fn keep_headers<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone) -> (HeaderList, u64) {
    /// What a header costs beside its bytes: lengths and a count, at most.
    const EACH: usize = 16;
    let size = |(name, value): (&str, Option<&[u8]>)| EACH + name.len() + value.map_or(0, <[u8]>::len);
    let limit = if headers.clone().map(size).sum::<usize>() <= KEEP_WHOLE { KEEP_WHOLE } else { KEEP_OF_LARGE };
    let mut used = 0;
    let kept: Vec<_> = headers
        .clone()
        .take_while(|header| {
            used += size(*header);
            used <= limit
        })
        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
        .collect();
    let left_out = headers.count() - kept.len();
    (kept, left_out as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_keeps_its_beginning_length_and_hash() {
        let limit = vec![7; KEEP_WHOLE];
        assert_eq!(Kept::of(Some(&limit)).bytes, Some(limit));
        let large = vec![7; KEEP_WHOLE + 1];
        let kept = Kept::of(Some(&large));
        assert_eq!((kept.bytes.unwrap().len(), kept.length), (KEEP_OF_LARGE, 32_769));
        assert_eq!(kept.sha256, Some(Sha256::digest(&large).into()));
        assert_eq!(Kept::of(None), Kept::default());
    }

    #[test]
    fn headers_are_kept_whole_or_counted() {
        let small = vec![("a", Some(&b"1"[..])), ("b", None)];
        assert_eq!(keep_headers(small.into_iter()).1, 0);
        let big = vec![0; KEEP_WHOLE];
        let (kept, left_out) = keep_headers([("a", Some(&b"1"[..])), ("b", Some(&big)), ("c", None)].into_iter());
        assert_eq!((kept, left_out), (vec![("a".to_owned(), Some(b"1".to_vec()))], 2));
    }
}
