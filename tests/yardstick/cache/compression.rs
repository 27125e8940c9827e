//! What compressing a caption gives and costs, and what a cached caption takes in resident memory.

use std::fmt::Write as _;

use lede_origin::cache::{WarmTier, codec};
use zstd::bulk::{Compressor, Decompressor};

use crate::meter::{cpu_s_of, float, resident_bytes};
use crate::resident;
use crate::responses::{MEASURED, entry, key};

/// Of the answers, for levels that take a millisecond each.
const SLOW_COUNT: usize = 1_000;
/// The default bound of the warm tier.
const WARM_BYTES_MAX: u64 = 64 << 20;
/// So many entries go through it, each answer many times under other keys: several times what it holds.
const ENTRIES: u64 = 600_000;
/// Its name as a child.
pub(crate) const RESIDENT: &str = "compression";

type Compress = Box<dyn FnMut(&[u8]) -> Vec<u8>>;
/// From the compressed bytes and the length before.
type Decompress = Box<dyn FnMut(&[u8], usize) -> Vec<u8>>;

/// A method of compressing.
struct Method {
    name: &'static str,
    compress: Compress,
    decompress: Decompress,
    is_slow: bool,
}

/// The table, and below it the resident memory.
pub(crate) fn measure() -> String {
    let responses = MEASURED.responses();
    let mut table = String::from(
        "| of 10,000 real answers | bytes | of the JSON | compress, µs | decompress, µs |\n|---|---|---|---|---|\n",
    );
    let mean = float(responses.iter().map(|response| response.len() as u64).sum()) / float(responses.len() as u64);
    let _ = writeln!(table, "| as JSON | {mean:.0} | 1.00 | | |");
    for method in methods() {
        table += &row(method, &responses);
    }
    let told = resident::in_child(RESIDENT);
    let numbers: Vec<f64> = told.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let [resident, counted, entries] = numbers[..] else { panic!("three numbers: {told}") };
    let _ = writeln!(
        table,
        "| in a full warm tier of 64 MiB, as it counts | {counted:.0} | {:.2} | | |",
        counted / mean
    );
    let _ = writeln!(
        table,
        "| **the same, resident** ({entries} entries) | {resident:.0} | **{:.2}** | | |",
        resident / mean
    );
    table
}

fn methods() -> Vec<Method> {
    let codec = Method {
        name: "as an entry (codec: header, checksum, lz4 + dictionary)",
        compress: Box::new(|body| codec::encode(&entry(body)).to_vec()),
        decompress: Box::new(|encoded, _| codec::decode(encoded).expect("it was encoded").body.to_vec()),
        is_slow: false,
    };
    let lz4 = Method {
        name: "lz4",
        compress: Box::new(lz4_flex::block::compress),
        decompress: Box::new(|block, length| lz4_flex::block::decompress(block, length).expect("a block")),
        is_slow: false,
    };
    let with_dictionary = Method {
        name: "lz4 + dictionary",
        compress: Box::new(|body| lz4_flex::block::compress_with_dict(body, codec::DICTIONARY)),
        decompress: Box::new(|block, length| {
            lz4_flex::block::decompress_with_dict(block, length, codec::DICTIONARY).expect("a block")
        }),
        is_slow: false,
    };
    vec![lz4, with_dictionary, zstd("zstd 3 + dictionary", 3), zstd("zstd 19 + dictionary", 19), codec]
}

fn zstd(name: &'static str, level: i32) -> Method {
    let mut compressor = Compressor::with_dictionary(level, codec::DICTIONARY).expect("a dictionary");
    // What the codec says itself.
    compressor.include_contentsize(false).and(compressor.include_dictid(false)).expect("settings of zstd");
    let mut decompressor = Decompressor::with_dictionary(codec::DICTIONARY).expect("a dictionary");
    Method {
        name,
        compress: Box::new(move |body| compressor.compress(body).expect("zstd takes any bytes")),
        decompress: Box::new(move |frame, length| decompressor.decompress(frame, length).expect("a frame")),
        is_slow: level > 10,
    }
}

fn row(mut method: Method, responses: &[Vec<u8>]) -> String {
    let count = if method.is_slow { SLOW_COUNT } else { responses.len() };
    let responses = &responses[..count];
    let mut compressed = Vec::new();
    let compress_s =
        cpu_s_of(|| compressed = responses.iter().map(|response| (method.compress)(response)).collect());
    let mut restored = Vec::new();
    let decompress_s = cpu_s_of(|| {
        let pairs = compressed.iter().zip(responses);
        restored = pairs.map(|(block, response)| (method.decompress)(block, response.len())).collect();
    });
    assert_eq!(restored, responses, "{} loses nothing", method.name);
    let sum = |of: &[Vec<u8>]| float(of.iter().map(|bytes| bytes.len() as u64).sum());
    let (count, share) = (float(count as u64), sum(&compressed) / sum(responses));
    format!(
        "| {} | {:.0} | {share:.2} | {:.1} | {:.2} |\n",
        method.name,
        sum(&compressed) / count,
        compress_s * 1e6 / count,
        decompress_s * 1e6 / count
    )
}

/// Resident bytes of an entry of a warm tier that is full and has evicted for a while: books, queues and allocator included.
/// In a process of its own.
pub(crate) fn resident_of_warm() -> String {
    let responses = MEASURED.responses();
    let encoded: Vec<_> = responses.iter().map(|response| codec::encode(&entry(response))).collect();
    let before = resident_bytes();
    let warm = WarmTier::new(WARM_BYTES_MAX, std::time::Duration::from_secs(3_600));
    for (number, encoded) in (0..ENTRIES).zip(encoded.iter().cycle()) {
        warm.put(key(number), encoded);
    }
    let grown = resident_bytes() - before;
    // Not earlier: the tier would have been given their memory, and nobody would have seen it.
    drop(responses);
    let stats = warm.stats();
    assert!(stats.evicted > stats.entries, "it has been full: {stats:?}");
    format!(
        "{} {} {}",
        float(grown) / float(stats.entries),
        float(stats.bytes) / float(stats.entries),
        stats.entries
    )
}
