//! What foreign senders send, made by the protocols' definitions.

use hms_ops::collect::receive::wire::{put_bytes, put_double, put_varint};

/// A series: labels, and samples of time (ms) and number.
pub type Series<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn message(number: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, &parts.concat());
    out
}

fn text(number: u32, text: &str) -> Vec<u8> {
    message(number, &[text.as_bytes().to_vec()])
}

fn sample(number: u32, (ts, value): (i64, f64)) -> Vec<u8> {
    let mut out = Vec::new();
    put_double(&mut out, 1, value);
    put_varint(&mut out, 2, ts as u64);
    message(number, &[out])
}

/// `prometheus.WriteRequest`, not packed.
pub fn write_1(series: &[Series<'_>]) -> Vec<u8> {
    let one = |(labels, samples): &Series<'_>| {
        let labels = labels.iter().map(|(name, value)| message(1, &[text(1, name), text(2, value)]));
        let samples = samples.iter().map(|point| sample(2, *point));
        message(1, &labels.chain(samples).collect::<Vec<_>>())
    };
    series.iter().map(one).collect::<Vec<_>>().concat()
}

/// `io.prometheus.write.v2.Request`, not packed: the symbols begin with the empty text.
pub fn write_2(series: &[Series<'_>]) -> Vec<u8> {
    let mut symbols = vec![""];
    let mut all = Vec::new();
    for (labels, samples) in series {
        let mut places = Vec::new();
        for part in labels.iter().flat_map(|(name, value)| [*name, *value]) {
            let place = symbols.iter().position(|symbol| *symbol == part).unwrap_or_else(|| {
                symbols.push(part);
                symbols.len() - 1
            });
            // Below 128 a varint is the byte.
            places.push(u8::try_from(place).unwrap());
        }
        let samples = samples.iter().map(|point| sample(2, *point));
        all.push(message(5, &std::iter::once(message(1, &[places])).chain(samples).collect::<Vec<_>>()));
    }
    symbols.iter().map(|symbol| text(4, symbol)).chain(all).collect::<Vec<_>>().concat()
}

/// `ExportMetricsServiceRequest` with one gauge point.
pub fn otlp(service: &str, metric: &str, ts_ms: i64, value: f64) -> Vec<u8> {
    let name = message(1, &[text(1, "service.name"), message(2, &[text(1, service)])]);
    let mut time = Vec::new();
    // A fixed64 is a double by other bits.
    put_double(&mut time, 3, f64::from_bits(ts_ms as u64 * 1_000_000));
    put_double(&mut time, 4, value);
    let gauge = message(5, &[message(1, &[time])]);
    message(1, &[message(1, &[name]), message(2, &[message(2, &[text(1, metric), gauge])])])
}

/// A snappy block.
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}
