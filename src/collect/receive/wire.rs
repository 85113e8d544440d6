//! Protobuf by hand: the few fields of three protocols that are needed, read where they lie. Used by `write` and `otlp`.
//!
//! A remote write has a label of text for every few bytes of value; generated code would copy each of them onto the heap
//! to be looked up once. Trusts nothing: no length is believed before the bytes are there, and nothing nests by itself.

use crate::web::Problem;

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no protobuf message of this kind: {0}")]
pub struct Broken(pub &'static str);

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        Self::bad_request(broken.to_string())
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// int32, int64, uint32, uint64, bool, enum.
    Varint(u64),
    /// fixed64, sfixed64, double.
    Fixed64(u64),
    /// string, bytes, messages, packed repeated fields.
    Bytes(&'a [u8]),
    /// fixed32, sfixed32, float.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// A message, bytes or text.
    pub fn bytes(self) -> Result<&'a [u8], Broken> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Broken("a field has another type")),
        }
    }

    /// Text.
    pub fn text(self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken("text that is not UTF-8"))
    }

    /// A double.
    pub fn double(self) -> Result<f64, Broken> {
        self.fixed64().map(f64::from_bits)
    }

    /// 8 bytes.
    pub fn fixed64(self) -> Result<u64, Broken> {
        match self {
            Self::Fixed64(bits) => Ok(bits),
            _ => Err(Broken("a field has another type")),
        }
    }

    /// An int64: negative ones are written in two's complement.
    pub fn int64(self) -> Result<i64, Broken> {
        self.varint().map(|bits| bits as i64)
    }

    /// A varint.
    pub fn varint(self) -> Result<u64, Broken> {
        match self {
            Self::Varint(bits) => Ok(bits),
            _ => Err(Broken("a field has another type")),
        }
    }
}

/// The fields of a message, in the order in which they lie there.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of these bytes.
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Number and value of the next one.
    ///
    /// # Errors
    /// The bytes are no message; it must not be called again.
    // Not an `Iterator`: the first error is the end, and `?` says so.
    #[allow(clippy::should_implement_trait)]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Broken("a field has no number"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken("it is cut off"))?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups were given up before any of these protocols began.
            _ => return Err(Broken("a field has no type")),
        };
        Ok(Some((number, value)))
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next number of a packed field.
    ///
    /// # Errors
    /// It is cut off, or longer than a number is.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Broken> {
        let mut bits = 0;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            bits |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return Ok(bits);
            }
        }
        Err(Broken(if self.rest.len() < 10 { "it is cut off" } else { "a number has more than 10 bytes" }))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Broken("it is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }
}

/// Appends a varint field; 0 is not written, as it is the default.
pub fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put(out, u64::from(number) << 3);
        put(out, value);
    }
}

/// Appends bytes, text or a message.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put(out, u64::from(number) << 3 | 2);
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a double.
pub fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Broken> {
        let mut fields = Fields::of(message);
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    /// The examples of the protobuf documentation: `1: 150`, `2: "testing"`.
    #[test]
    fn fields_are_read_as_the_documentation_writes_them() {
        assert_eq!(all(&[0x08, 0x96, 0x01]), Ok(vec![(1, Value::Varint(150))]));
        assert_eq!(all(b"\x12\x07testing"), Ok(vec![(2, Value::Bytes(b"testing"))]));
        assert_eq!(all(&[0x0d, 1, 0, 0, 0]), Ok(vec![(1, Value::Fixed32(1))]));
        let mut out = Vec::new();
        put_varint(&mut out, 1, 150);
        put_bytes(&mut out, 2, b"testing");
        put_double(&mut out, 3, 1.5);
        let written =
            vec![(1, Value::Varint(150)), (2, Value::Bytes(b"testing")), (3, Value::Fixed64(1.5_f64.to_bits()))];
        assert_eq!(all(&out), Ok(written));
    }

    #[test]
    fn what_is_no_message_is_told_so() {
        let long = [&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], b"x"].concat();
        for broken in
            [&[0x08][..], &[0x08, 0x80], &[0x12, 5, 1], &[0x0b], &[0x00, 1], &[0x09, 1, 2], &[0xff; 11], &long]
        {
            assert!(all(broken).is_err(), "{broken:?}");
        }
        assert_eq!(Value::Varint(u64::MAX).int64(), Ok(-1));
        assert!(Value::Varint(1).double().is_err() && Value::Bytes(&[0xff]).text().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end_with_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = all(&bytes);
        }
    }
}
