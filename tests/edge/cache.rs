//! The three tiers of the response cache, purge and warming, and what happens when one of the tiers fails.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lede_shared::problem::ProblemCode;
use lede_tests::{
    Edge, Origin, Surroundings, client, free_port, ok_json, path_from_environment, post, problem_of, sunset,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const GENERATE: &str = "/api/v14/generate";
const PURGE: &str = "/admin/v1/purge";

/// Stores that outlive a workerd, and what is put into them.
struct Kept {
    folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn workers_kv(&self) -> &Path {
        self.folder.path()
    }

    fn everything(&self) -> Surroundings<'_> {
        Surroundings {
            workers_kv: Some(self.workers_kv()),
            colo: Some(self.folder.path()),
            ..Surroundings::default()
        }
    }

    /// An edge of another data centre, where these fail.
    fn elsewhere<'a>(&'a self, faults: &'a [&'a str]) -> Surroundings<'a> {
        Surroundings { workers_kv: Some(self.workers_kv()), faults, ..Surroundings::default() }
    }

    /// The sunset's caption in every tier.
    async fn filled(&self, origin: &Origin) {
        let edge = Edge::start_in(&origin.url, &json!({}), &self.everything());
        assert_eq!(tier(&edge).await, "origin");
        eventually(&edge, "isolate").await;
        // The second look-up makes it popular; Workers KV is written behind that answer.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// Which tier answers for the sunset; `origin` when none does.
async fn tier(edge: &Edge) -> String {
    let (headers, answer) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    let status = headers["cache-status"].to_str().unwrap().to_owned();
    let Some(tier) = answer["performance_metrics"]["cache_tier"].as_str().filter(|tier| *tier != "hot") else {
        assert!(status.contains("lede-edge; fwd="), "{status}");
        return "origin".to_owned();
    };
    assert!(status.contains("lede-edge; hit") && status.ends_with(&format!("detail={tier}")), "{status}");
    tier.to_owned()
}

/// Entries are written behind answers, so that one asks until it is there.
async fn eventually(edge: &Edge, wanted: &str) {
    for _ in 0..100 {
        if tier(edge).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{wanted} never answers:\n{}", edge.log());
}

/// A log line is there soon after what it tells of.
async fn logged(edge: &Edge, event: &str) {
    for _ in 0..100 {
        if edge.log().contains(&format!("\"event\":\"{event}\"")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no line about {event}:\n{}", edge.log());
}

#[tokio::test]
async fn isolate_colo_and_workers_kv_answer_in_turn_also_with_the_origin_gone() {
    let (mut origin, kept) = (Origin::start().await, Kept::new());
    kept.filled(&origin).await;
    origin.kill();
    let same_colo = Edge::start_in(&origin.url, &json!({}), &kept.everything());
    assert_eq!(tier(&same_colo).await, "colo");
    assert_eq!(tier(&same_colo).await, "isolate");

    let elsewhere = Edge::start_in(&origin.url, &json!({}), &kept.elsewhere(&[]));
    assert_eq!(tier(&elsewhere).await, "workers_kv");
    for _ in 0..50 {
        assert_eq!(tier(&elsewhere).await, "isolate", "no error for a popular caption");
    }
}

#[tokio::test]
async fn a_workers_kv_that_cannot_be_read_is_a_miss_and_a_log_line() {
    let (origin, kept) = (Origin::start().await, Kept::new());
    kept.filled(&origin).await;
    for fault in ["workers_kv_read_failing", "workers_kv_read_hanging"] {
        let edge = Edge::start_in(&origin.url, &json!({}), &kept.elsewhere(&[fault]));
        assert_eq!(tier(&edge).await, "origin", "{fault}");
        logged(&edge, "workers_kv_read_failed").await;
        eventually(&edge, "isolate").await;
    }
}

#[tokio::test]
async fn a_workers_kv_that_refuses_writes_leaves_the_other_tiers_and_a_log_line() {
    let origin = Origin::start().await;
    let faults = ["workers_kv_write_failing"];
    let edge =
        Edge::start_in(&origin.url, &json!({}), &Surroundings { faults: &faults, ..Surroundings::default() });
    assert_eq!(tier(&edge).await, "origin");
    eventually(&edge, "isolate").await;
    assert_eq!(tier(&edge).await, "isolate");
    logged(&edge, "workers_kv_write_failed").await;
    assert!(edge.log().contains("429"), "{}", edge.log());
}

#[tokio::test]
async fn a_colo_cache_that_fails_or_hangs_is_a_miss_and_a_log_line() {
    let (origin, kept) = (Origin::start().await, Kept::new());
    kept.filled(&origin).await;
    for fault in ["colo_failing", "colo_hanging"] {
        let edge = Edge::start_in(&origin.url, &json!({}), &kept.elsewhere(&[fault]));
        assert_eq!(tier(&edge).await, "workers_kv", "{fault}");
        logged(&edge, "colo_read_failed").await;
        assert_eq!(tier(&edge).await, "isolate", "{fault}");
    }
}

#[tokio::test]
async fn with_every_store_failing_captions_are_still_made() {
    let origin = Origin::start().await;
    let faults = ["workers_kv_read_failing", "workers_kv_write_failing", "colo_failing"];
    let edge =
        Edge::start_in(&origin.url, &json!({}), &Surroundings { faults: &faults, ..Surroundings::default() });
    assert_eq!(tier(&edge).await, "origin");
    eventually(&edge, "isolate").await;
}

/// An API key for administration, made by the origin's own command.
fn admin_key(keys_file: &Path) -> String {
    let mut command = Command::new(path_from_environment("LEDE_ORIGIN_BIN"));
    command
        .args(["keys", "create", "--tenant", "operations", "--scope", "admin"])
        .env("LEDE_KEYS_FILE", keys_file);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn an_administrator_s_purge_reaches_the_edge_and_the_origin() {
    let folder = TempDir::new().unwrap();
    let keys_file = folder.path().join("keys.toml");
    let key = admin_key(&keys_file);
    let origin = Origin::start_with(free_port(), &[("LEDE_KEYS_FILE", keys_file.to_str().unwrap())]).await;
    let edge = Edge::start(&origin.url);
    assert_eq!(tier(&edge).await, "origin");
    eventually(&edge, "isolate").await;
    let finished = origin.engine_work().await["sequences_finished"].clone();

    let everything = json!({ "scope": "all" });
    let refused = problem_of(post(&edge.url, PURGE, &everything).send().await.unwrap()).await;
    assert_eq!(refused.code, ProblemCode::Forbidden);
    assert_eq!(tier(&edge).await, "isolate");

    let url = format!("{}{PURGE}", edge.url);
    let (_, purged) = ok_json(client().post(url).bearer_auth(key).json(&everything)).await;
    assert!(purged["epoch_ms"].as_u64() < purged["holds_everywhere_from_ms"].as_u64(), "{purged}");
    let (headers, _) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    let status = headers["cache-status"].to_str().unwrap();
    assert!(
        status.contains("lede-origin; fwd=uri-miss") && status.contains("lede-edge; fwd=uri-miss"),
        "{status}"
    );
    assert_ne!(origin.engine_work().await["sequences_finished"], finished, "the origin generated anew");
    eventually(&edge, "isolate").await;
}

#[tokio::test]
async fn a_cron_event_fills_workers_kv_with_what_the_origin_is_asked_for_most() {
    let (origin, kept) = (Origin::start().await, Kept::new());
    let unpopular: Value = json!({ "POPULAR_AFTER_LOOKUPS": "15" });
    let alone = Surroundings { without_assets: true, ..kept.everything() };
    let edge = Edge::start_in(&origin.url, &unpopular, &alone);
    assert_eq!(tier(&edge).await, "origin");
    edge.run_cron().await;
    logged(&edge, "warmed").await;
    assert!(edge.log().contains("captions 1, written 1, fresh_already 0"), "{}", edge.log());
    edge.run_cron().await;
    let elsewhere = Edge::start_in(&origin.url, &unpopular, &kept.elsewhere(&[]));
    assert_eq!(tier(&elsewhere).await, "workers_kv");
    assert!(edge.log().contains("captions 1, written 0, fresh_already 1"), "{}", edge.log());
}
