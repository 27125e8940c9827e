//! Devices that fail beneath a real origin: in ONNX Runtime and in the Vulkan driver, by libraries that stand in for the real
//! ones (docs/decisions/0038). The binary is the one that is shipped and knows nothing of it.

mod onnx_runtime;
mod overload;
mod replaced;
mod vulkan;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_shared::problem::Problem;
use lede_tests::{FaultyDevice, KeysFile, Origin, free_port, ok_json, post, problem_of};
use serde_json::{Value, json};

/// Who administers the origins here.
const ADMIN_KEY: &str = "lede_test_fedcba9876543210fedcba9876543210";
const GENERATE: &str = "/api/v14/generate";
/// As many as run at once.
const COMPANY: usize = 8;
/// Requests are given so long, `LEDE_REQUEST_TIMEOUT_MS`.
const DEADLINE: Duration = Duration::from_secs(25);
/// What an answer may be late by on a machine that does other things beside.
const SLACK: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(40);
/// The promise: nobody is sent to an engine that hangs for longer than this.
const NOT_READY_WITHIN: Duration = Duration::from_secs(5);
/// A device that hangs is given up in seconds here. Calls that do what they are for take a tenth of this even on one core.
const WATCHFUL: [(&str, &str); 3] = [
    ("LEDE_DEVICE_CALL_STALLED_MS", "1500"),
    ("LEDE_DEVICE_CALL_MAX_MS", "3000"),
    ("LEDE_REQUEST_TIMEOUT_MS", "25000"),
];

/// An origin on a device that does as it is told.
pub(crate) struct Served {
    origin: Origin,
    device: FaultyDevice,
    _keys: KeysFile,
}

/// How a request ended.
#[derive(Debug)]
enum Ended {
    Answer(Value),
    Problem(Problem),
}

impl Served {
    async fn start(device: FaultyDevice, settings: &[(&str, &str)]) -> Self {
        let keys = KeysFile::new().key(ADMIN_KEY, "ops", "scopes = [\"admin\"]");
        let path = keys.path();
        let own = [("LEDE_KEYS_FILE", path.as_str()), ("LEDE_ADMIN_REQUESTS_PER_MINUTE", "100000")];
        let origin = Origin::start_with(free_port(), &device.settings(&[&own, settings].concat())).await;
        Self { origin, device, _keys: keys }
    }

    async fn told(&self, path: &str) -> Value {
        let request = lede_tests::client().get(format!("{}{path}", self.origin.url));
        ok_json(request.bearer_auth(ADMIN_KEY)).await.1
    }

    /// `condition` of `GET /performance/ai`.
    async fn condition(&self) -> Value {
        self.told("/performance/ai").await["condition"].clone()
    }

    /// A counter of `GET /performance/ai`.
    async fn count(&self, name: &str) -> u64 {
        self.told("/performance/ai").await["engine"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Asks for what no cache may answer, and expects an end in time.
    async fn ask(&self, body: &Value) -> Ended {
        let began = Instant::now();
        let asked = post(&self.origin.url, GENERATE, body).header("cache-control", "no-store").send().await;
        let response = asked.unwrap_or_else(|error| panic!("{body}: {error:?}\n{}", self.origin.log()));
        let status = response.status().as_u16();
        let ended = if status == 200 {
            let text = response.text().await.expect("the body arrives");
            let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
            Ended::Answer(answer["variants"].clone())
        } else {
            let problem = problem_of(response).await;
            // 500 is for those whom the device has failed twice while it was well.
            assert!(matches!(status, 500 | 503 | 504) && problem.retryable, "{problem:?}\n{}", self.origin.log());
            assert_eq!(status == 503, problem.retry_after_s.is_some(), "{problem:?}");
            Ended::Problem(problem)
        };
        assert!(began.elapsed() < DEADLINE + SLACK, "{body} took {:?}: {ended:?}", began.elapsed());
        ended
    }

    async fn ask_all(&self, bodies: &[Value]) -> Vec<Ended> {
        join_all(bodies.iter().map(|body| self.ask(body))).await
    }

    /// What it says to each when all is well.
    async fn answers(&self, bodies: &[Value]) -> Vec<Value> {
        let answer = |ended| match ended {
            Ended::Answer(answer) => answer,
            Ended::Problem(problem) => panic!("all is well, and yet: {problem:?}\n{}", self.origin.log()),
        };
        self.ask_all(bodies).await.into_iter().map(answer).collect()
    }

    /// Waits until it says that it is ready, or that it is not.
    async fn until_ready(&self, ready: bool, within: Duration) {
        let until = Instant::now() + within;
        while self.origin.is_ready().await != ready {
            assert!(Instant::now() < until, "ready: {}, for {within:?}\n{}", !ready, self.origin.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks for all at once, and has the device do as `order` says while it works for all of them. `busy` makes it take its
    /// time until then.
    async fn struck_by(&self, order: &str, busy: &str, bodies: &[Value]) -> Vec<Ended> {
        self.device.order(busy);
        let strike = async {
            let until = Instant::now() + SOON;
            while self.told("/performance/tasks/stats").await["running"]["normal"] != bodies.len() {
                assert!(Instant::now() < until, "they never run together\n{}", self.origin.log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.device.order(order);
        };
        let (ended, ()) = tokio::join!(self.ask_all(bodies), strike);
        assert!(self.device.struck() > 0, "{order} has struck nobody");
        ended
    }

    /// The same process, and nothing in it has panicked but what is caught where it is called: wgpu, when a device is lost
    /// that it waits for.
    fn assert_lives(&mut self) {
        let log = self.origin.log();
        assert!(!self.origin.has_ended(), "the origin ended:\n{log}");
        assert!(!log.contains("its thread has panicked"), "{log}");
        assert_eq!(log.matches("panicked at").count(), log.matches("Error in Device::poll").count(), "{log}");
    }
}

/// Requests of one sequence each, which follow from themselves alone.
fn company() -> Vec<Value> {
    (0..COMPANY).map(about).collect()
}

fn about(seed: usize) -> Value {
    json!({
        "content_description": "a lighthouse in the evening", "seed": seed, "optimization_level": "ultra_fast",
        "hashtag_count": 2, "max_length": 120,
    })
}

/// Every answer is the right one.
fn assert_right(ended: &[Ended], right: &[Value], order: &str) {
    for (ended, right) in ended.iter().zip(right) {
        if let Ended::Answer(answer) = ended {
            assert_eq!(answer, right, "{order}");
        }
    }
}

/// How many have an answer.
fn answered<'a>(ended: impl IntoIterator<Item = &'a Ended>) -> usize {
    ended.into_iter().filter(|ended| matches!(ended, Ended::Answer(_))).count()
}

/// A call that hangs as `order` says is left behind with its thread, another device is opened, and who was on the first is
/// answered as if nothing had been.
async fn assert_outlives_a_hang(device: FaultyDevice, busy: &str, order: &str) {
    let mut served = Served::start(device, &WATCHFUL).await;
    let bodies = company();
    let right = served.answers(&bodies).await;
    let watched = async {
        served.until_ready(false, SOON).await;
        served.until_ready(true, SOON).await;
    };
    let (ended, ()) = tokio::join!(served.struck_by(order, busy, &bodies), watched);
    assert_right(&ended, &right, order);
    assert_eq!(answered(&ended), COMPANY, "they are written once more: {ended:?}");
    assert_eq!(served.condition().await["threads_abandoned"], 1);
    assert_eq!(served.answers(&bodies).await, right);
    // The call comes back after all, and nobody is there to take it.
    served.device.recover();
    assert_eq!(served.answers(&bodies).await, right);
    served.assert_lives();
}
