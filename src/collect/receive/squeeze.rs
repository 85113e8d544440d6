//! Packed bodies unpacked, within bounds: how long they become is known, and memory for it held, before they do.

use std::io::Read;

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

use crate::web::Problem;
use crate::web::server::{Held, Room};

/// The longest body when unpacked, bytes.
pub const MAX_UNPACKED: usize = 16 * 1024 * 1024;
/// Deflate makes at most so many bytes of one.
const GZIP_RATIO: usize = 1_032;

/// A body as it was before it was packed.
pub struct Unpacked {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its share of the memory for bodies.
    pub held: Held,
}

/// How a body says that it is packed; empty if it is not.
///
/// # Errors
/// It is no text.
pub fn encoding(headers: &HeaderMap) -> Result<String, Problem> {
    let text = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
    let text = text.map_err(|_| Problem::unsupported("Content-Encoding is no text"))?.trim();
    Ok(if text.eq_ignore_ascii_case("identity") { String::new() } else { text.to_ascii_lowercase() })
}

/// Snappy's block format.
///
/// # Errors
/// 413, 429, or it is none.
pub fn snappy(packed: &[u8], room: &Room) -> Result<Unpacked, Problem> {
    let none = |error: snap::Error| Problem::bad_request(format!("the body is no snappy block: {error}"));
    let length = snap::raw::decompress_len(packed).map_err(none)?;
    if length > MAX_UNPACKED {
        return Err(Problem::too_large(MAX_UNPACKED).with("unpacked", true));
    }
    let held = room.hold(length)?;
    let bytes = snap::raw::Decoder::new().decompress_vec(packed).map_err(none)?;
    Ok(Unpacked { bytes, held })
}

/// Gzip.
///
/// # Errors
/// 413, 429, or it is none.
pub fn gzip(packed: &[u8], room: &Room) -> Result<Unpacked, Problem> {
    // How long it becomes stands at its end, where a stranger wrote it.
    let longest = packed.len().saturating_mul(GZIP_RATIO).min(MAX_UNPACKED);
    let held = room.hold(longest)?;
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(packed).take(longest as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::bad_request(format!("the body is no gzip: {error}")))?;
    if bytes.len() > longest {
        return Err(Problem::too_large(MAX_UNPACKED).with("unpacked", true));
    }
    Ok(Unpacked { bytes, held })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::web::Limits;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn status<T>(result: Result<T, Problem>) -> u16 {
        result.err().unwrap().status().as_u16()
    }

    #[test]
    fn what_was_packed_comes_back() {
        let room = Room::new(Limits::default());
        let body = b"readings ".repeat(1_000);
        assert_eq!(gzip(&gzipped(&body), &room).unwrap().bytes, body);
        let packed = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        assert_eq!(snappy(&packed, &room).unwrap().bytes, body);
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let room = Room::new(Limits::default());
        let bomb = gzipped(&vec![0; MAX_UNPACKED + 1]);
        assert!(bomb.len() < 20_000);
        assert_eq!(status(gzip(&bomb, &room)), 413);
        // A length of 4 GiB in five bytes.
        assert_eq!(status(snappy(&[0xff, 0xff, 0xff, 0xff, 0x0f], &room)), 413);
        let little = Room::new(Limits { bodies_bytes: 1024 * 1024, ..Limits::default() });
        assert_eq!(status(snappy(&[0x80, 0x80, 0x80, 0x04], &little)), 429, "8 MiB are not free");
    }

    #[test]
    fn what_is_cut_off_or_not_packed_at_all_is_refused() {
        let room = Room::new(Limits::default());
        let packed = snap::raw::Encoder::new().compress_vec(&b"readings ".repeat(100)).unwrap();
        for length in 0..packed.len() {
            assert_eq!(status(snappy(&packed[..length], &room)), 400, "{length}");
        }
        let packed = gzipped(b"readings");
        for length in 0..packed.len() {
            assert_eq!(status(gzip(&packed[..length], &room)), 400, "{length}");
        }
    }
}
