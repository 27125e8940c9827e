//! Real answers to measure with: of the origin with the embedded model, for requests that `requests.py` draws from a seed.
//! As an answer follows from its request, they are the same each time. They are made once and kept in `target/bench`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::{StreamExt, stream};
use lede_origin::cache::Entry;
use lede_shared::api::{CaptionResponse, GENERATE_PATH};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;
use lede_tests::{API_KEY, Origin, client, in_repository, path_from_environment};

/// Which requests, by split of the corpus, seed and number.
pub(crate) struct Sample {
    name: &'static str,
    split: &'static str,
    seed: u32,
    count: usize,
}

/// What is measured: descriptions that neither the model nor the dictionary has seen.
pub(crate) const MEASURED: Sample = Sample { name: "measured", split: "heldout", seed: 5, count: 10_000 };
/// What the dictionary is made of.
pub(crate) const DICTIONARY: Sample = Sample { name: "dictionary", split: "train", seed: 6, count: 2_500 };

/// The origin decodes eight sequences at once.
const CALLERS: usize = 8;

impl Sample {
    /// The answers without their metrics, as the cache keeps them.
    pub(crate) fn responses(&self) -> Vec<Vec<u8>> {
        let kept = self.kept();
        if !kept.exists() {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let responses = runtime.block_on(self.asked_for());
            fs::create_dir_all(kept.parent().expect("in a folder")).expect("the folder can be made");
            // Under its name only when it is whole.
            let unfinished = kept.with_extension("unfinished");
            fs::write(&unfinished, responses.join("\n")).expect("the answers can be kept");
            fs::rename(&unfinished, &kept).expect("the answers can be kept");
        }
        // Line by line: memory that is given back here would be taken for none by who counts what is resident next.
        let lines = BufReader::new(File::open(&kept).expect("the answers can be read")).split(b'\n');
        let responses: Vec<_> =
            lines.take(self.count).map(|line| line.expect("the answers can be read")).collect();
        assert_eq!(responses.len(), self.count, "{} is cut off; delete it", kept.display());
        responses
    }

    fn kept(&self) -> PathBuf {
        path_from_environment("LEDE_BENCH_FOLDER").join(format!("responses-{}.jsonl", self.name))
    }

    async fn asked_for(&self) -> Vec<String> {
        let origin = Origin::start().await;
        let (url, client) = (format!("{}{GENERATE_PATH}", origin.url), client());
        let ask = |body: String| {
            let request = client.post(&url).bearer_auth(API_KEY).header("content-type", "application/json");
            async move {
                let response = request.body(body).send().await.expect("the origin answers");
                let text = response.text().await.expect("the answer arrives");
                let answer: CaptionResponse = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
                answer.json_without_metrics().expect("an answer ends with its metrics")
            }
        };
        stream::iter(self.requests()).map(ask).buffered(CALLERS).collect().await
    }

    fn requests(&self) -> Vec<String> {
        let script = Path::new("tests/yardstick/cache/requests.py").to_str().expect("a path in ASCII");
        let (seed, count) = (self.seed.to_string(), self.count.to_string());
        let mut python = in_repository("python3", "", &[script, self.split, &seed, "0", &count]);
        python.env("PYTHONPATH", ".").env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::inherit());
        let output = python.output().expect("python3 draws the requests");
        assert!(output.status.success(), "python3 failed");
        String::from_utf8(output.stdout).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
    }
}

/// An entry like those of the origin's defaults.
pub(crate) fn entry(body: &[u8]) -> Entry {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    let freshness = FreshnessRecord {
        created_ms: UnixMillis(u64::try_from(now.as_millis()).expect("a clock before the end of time")),
        fresh_for_ms: 86_400_000,
        stale_while_revalidate_ms: 3_600_000,
        stale_if_error_ms: 86_400_000,
    };
    Entry { body: bytes::Bytes::copy_from_slice(body), freshness, device_ms: 400 }
}

/// A key as good as SHA-256's, for less (SplitMix64 in four parts).
pub(crate) fn key(number: u64) -> CacheKey {
    let mut key = [0; 32];
    for (part, bytes) in (0..4u64).zip(key.chunks_mut(8)) {
        let mut mixed = (number * 4 + part).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    CacheKey(key)
}
