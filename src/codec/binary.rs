//! Avro's binary primitives: what a schema's types look like as bytes. Used by the codecs of this room alone.
//!
//! The reader borrows, allocates nothing and trusts nothing: no length or count is believed before the bytes
//! are there.

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end too early.
    Truncated,
    /// They cannot have been written by the schema; says why.
    Malformed(&'static str),
}

/// Appends an `int` or `long`: zigzag, then 7 bits a byte. Most numbers have up to three, which are put at once.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let more = |bits: u64| bits as u8 | 0x80;
    match rest {
        0..0x80 => return out.push(rest as u8),
        0x80..0x4000 => return out.extend_from_slice(&[more(rest), (rest >> 7) as u8]),
        0x4000..0x20_0000 => return out.extend_from_slice(&[more(rest), more(rest >> 7), (rest >> 14) as u8]),
        _ => {}
    }
    while rest >= 0x80 {
        out.push(more(rest));
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a count as a `long`. What no counter reaches is written as the largest `long`.
pub fn put_count(out: &mut Vec<u8>, count: u64) {
    put_long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

/// Appends a `double`.
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `string` or `bytes`.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_long(out, value.len() as i64);
    out.extend_from_slice(value);
}

/// Appends a `["null", "bytes"]`.
pub fn put_optional_bytes(out: &mut Vec<u8>, value: Option<&[u8]>) {
    put_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        put_bytes(out, value);
    }
}

/// Appends an array or map as one block and its end. The caller has sorted a map's entries.
pub fn put_blocks<T>(out: &mut Vec<u8>, items: impl ExactSizeIterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    if items.len() > 0 {
        put_long(out, items.len() as i64);
        items.for_each(|item| put(out, item));
    }
    out.push(0);
}

/// Reads a datum from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An `int` or `long`. Bits beyond the 64th are ignored, as other readers do.
    pub fn long(&mut self) -> Result<i64, Fault> {
        let mut zigzag = 0_u64;
        for place in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
            self.rest = rest;
            zigzag |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
            }
        }
        Err(Fault::Malformed("a number of more than 10 bytes"))
    }

    /// A `long` that is a count.
    pub fn count(&mut self) -> Result<u64, Fault> {
        u64::try_from(self.long()?).map_err(|_| Fault::Malformed("a negative count"))
    }

    /// An `int`.
    pub fn int(&mut self) -> Result<i32, Fault> {
        i32::try_from(self.long()?).map_err(|_| Fault::Malformed("an int of more than 32 bits"))
    }

    /// A `boolean`.
    pub fn boolean(&mut self) -> Result<bool, Fault> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault::Malformed("a boolean that is neither 0 nor 1")),
        }
    }

    /// A `double`.
    pub fn double(&mut self) -> Result<f64, Fault> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(f64::from_le_bytes(bytes))
    }

    /// `bytes`, or a `string` whose text is not looked at yet.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.long()?).map_err(|_| Fault::Malformed("a negative length"))?;
        self.take(length)
    }

    /// A `string`.
    pub fn string(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Malformed("text that is not UTF-8"))
    }

    /// A `["null", T]`.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        match self.long()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Fault::Malformed("a branch that the union does not have")),
        }
    }

    /// The items of an array or map, block by block. Every item must take at least one byte, so that a
    /// count of 4 * 10^8 ends with the bytes.
    pub fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The size of the block in bytes, for readers that skip it.
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    /// An array.
    pub fn array<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut items = Vec::new();
        self.blocks(|cursor| {
            items.push(read(cursor)?);
            Ok(())
        })?;
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_as_the_avro_specification_writes_them() {
        for (value, bytes) in [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-64, vec![0x7f]), (64, vec![0x80, 1])] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
        for value in [i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!((out.len(), Cursor::new(&out).long()), (10, Ok(value)));
        }
        for bytes in 1..=9 {
            let least_beyond = 1_i64 << (7 * bytes - 1);
            for (value, length) in [(least_beyond - 1, bytes), (least_beyond, bytes + 1), (-least_beyond, bytes)] {
                let mut out = Vec::new();
                put_long(&mut out, value);
                assert_eq!((out.len(), Cursor::new(&out).long()), (length, Ok(value)));
            }
        }
    }

    #[test]
    fn lengths_and_counts_are_not_believed() {
        let mut huge = Vec::new();
        put_long(&mut huge, 1 << 61);
        assert_eq!(Cursor::new(&huge).bytes(), Err(Fault::Truncated));
        assert_eq!(Cursor::new(&huge).array(Cursor::long), Err(Fault::Truncated));
        assert_eq!(Cursor::new(&[1]).bytes(), Err(Fault::Malformed("a negative length")));
        assert_eq!(Cursor::new(&[0xff; 11]).long(), Err(Fault::Malformed("a number of more than 10 bytes")));
    }

    #[test]
    fn a_block_may_say_its_size() {
        assert_eq!(Cursor::new(&[3, 4, 2, 4, 2, 6, 0]).array(Cursor::long), Ok(vec![1, 2, 3]));
    }
}
