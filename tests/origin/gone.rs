//! Clients who leave: the device is at work for them for one more step at most.

use std::time::{Duration, Instant};

use lede_tests::{ALWAYS, FaultyDevice, Origin, client, free_port, ok_json, post};
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";
/// What a step of the device takes: long enough that none begins and ends between two looks at how many there were.
const STEP: Duration = Duration::from_millis(800);
const SOON: Duration = Duration::from_secs(30);

/// A long answer of one sequence.
fn about(seed: usize) -> Value {
    json!({ "content_description": "a lighthouse", "seed": seed, "optimization_level": "ultra_fast" })
}

/// An origin on a device that takes its time.
struct Slow {
    origin: Origin,
    device: FaultyDevice,
}

impl Slow {
    async fn start() -> Self {
        let device = FaultyDevice::onnx_runtime();
        let origin = Origin::start_with(free_port(), &device.settings(&[("LEDE_PREFETCH", "off")])).await;
        device.order(&format!("run slow:{} {ALWAYS}", STEP.as_millis()));
        Self { origin, device }
    }

    async fn count(&self, name: &str) -> u64 {
        self.origin.engine_work().await[name].as_u64().unwrap()
    }

    /// Waits until the counter has passed `before`.
    async fn until_more(&self, name: &str, before: u64) {
        let until = Instant::now() + SOON;
        while self.count(name).await <= before {
            assert!(Instant::now() < until, "{name} stays at {before}\n{}", self.origin.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has `leaving` begin and leave in the midst of the device's work: so many sequences are dropped, and no step but the one
    /// that runs is taken for them.
    async fn assert_frees(&self, sequences: u64, leaving: impl Future<Output = ()>) {
        let (steps, dropped) = (self.count("decode_steps").await, self.count("sequences_dropped").await);
        tokio::select! {
            () = leaving => panic!("it has ended by itself"),
            () = self.until_more("decode_steps", steps) => {}
        }
        let at_leaving = self.count("decode_steps").await;
        self.until_more("sequences_dropped", dropped + sequences - 1).await;
        let after = self.count("decode_steps").await;
        assert!(after <= at_leaving + 1, "{} steps for nobody", after - at_leaving);
        assert_eq!(self.count("sequences_dropped").await, dropped + sequences);
        tokio::time::sleep(STEP * 2).await;
        assert_eq!(self.count("decode_steps").await, after, "nothing is left to be done");
    }
}

async fn ask(url: &str, body: Value) {
    let _ = post(url, GENERATE, &body).send().await.unwrap().text().await;
}

/// Reads a stream to its end.
async fn read(url: &str, body: Value) {
    let mut stream = post(url, GENERATE, &body).header("accept", "text/event-stream").send().await.unwrap();
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn who_leaves_frees_the_device_within_a_step_whether_they_asked_for_one_a_stream_or_a_batch() {
    let slow = Slow::start().await;
    let url = slow.origin.url.clone();
    slow.assert_frees(1, ask(&url, about(1))).await;
    slow.assert_frees(1, read(&url, about(2))).await;
    let batch = json!({ "requests": [about(3), about(4), about(5)] });
    slow.assert_frees(3, async { drop(post(&url, "/api/v14/batch", &batch).send().await) }).await;
    slow.device.recover();
    ok_json(post(&url, GENERATE, &about(6))).await;
}

#[tokio::test]
async fn of_two_who_wait_for_the_same_one_may_leave_and_the_other_gets_the_answer() {
    let slow = Slow::start().await;
    let url = slow.origin.url.clone();
    let (steps, dropped) = (slow.count("decode_steps").await, slow.count("sequences_dropped").await);
    let leader = tokio::spawn(post(&url, GENERATE, &about(1)).send());
    slow.until_more("decode_steps", steps).await;
    let follower = tokio::spawn(post(&url, GENERATE, &about(1)).send());
    slow.until_more("decode_steps", steps + 1).await;
    leader.abort();
    slow.until_more("decode_steps", steps + 2).await;
    slow.device.recover();
    let answer = follower.await.unwrap().unwrap();
    let status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
    assert!(answer.status().is_success() && status.contains("collapsed"), "{status}");
    assert_eq!(slow.count("sequences_dropped").await, dropped);
    assert_eq!(slow.count("sequences_finished").await, 1);
    let again = client().get(format!("{url}/health/ready")).send().await.unwrap();
    assert!(again.status().is_success());
}
