//! Ten times what the device can do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_tests::{ALWAYS, FaultyDevice, client};
use serde_json::Value;

use super::{Ended, GENERATE, Served, about};

/// The device takes so long for a step, whatever else the machine does: what it can do is known, and little.
const STEP_MS: u64 = 25;
/// A request's time, and what may be on top of it: a step, and a busy machine.
const DEADLINE: Duration = Duration::from_secs(3);
const LATE_MAX: Duration = Duration::from_secs(2);
const TIMES: u32 = 10;
/// For so long, unless `LEDE_OVERLOAD_S` says otherwise.
const DURATION_S: u64 = 8;
/// A refusal that takes no longer is prompt.
const PROMPT: Duration = Duration::from_millis(5);

/// How one ended, after how long, and what the origin says it took.
struct Outcome {
    ended: Ended,
    took: Duration,
    said: Option<Duration>,
}

async fn asked(served: &Served, http: &reqwest::Client, seed: usize) -> Outcome {
    let request = http.post(format!("{}{GENERATE}", served.origin.url)).bearer_auth(lede_tests::API_KEY);
    let began = Instant::now();
    let response = request.json(&about(seed)).send().await.expect("the origin answers");
    let took = began.elapsed();
    let said = response.headers().get("server-timing").and_then(|value| total_of(value.to_str().ok()?));
    let ended = match response.status().as_u16() {
        200 => Ended::Answer(response.json::<Value>().await.expect("an answer")["variants"].clone()),
        _ => Ended::Problem(lede_tests::problem_of(response).await),
    };
    Outcome { ended, took, said }
}

/// The `total` of a Server-Timing header.
fn total_of(timing: &str) -> Option<Duration> {
    let total = timing.split(',').find_map(|metric| metric.trim().strip_prefix("total;dur="))?;
    total.parse().ok().map(|ms: f64| Duration::from_secs_f64(ms / 1_000.0))
}

/// Answers per second of as many as run at once, each asking again at once.
async fn rate(served: &Served, http: &reqwest::Client) -> f64 {
    const ROUNDS: usize = 2;
    let began = Instant::now();
    for round in 0..ROUNDS {
        let outcomes = join_all((0..super::COMPANY).map(|seed| asked(served, http, round * 100 + seed))).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome.ended, Ended::Answer(_))));
    }
    (ROUNDS * super::COMPANY) as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test]
async fn ten_times_too_much_is_answered_in_time_or_refused_with_a_time_to_come_again_and_nothing_breaks() {
    let deadline = DEADLINE.as_millis().to_string();
    let settings = [("LEDE_REQUEST_TIMEOUT_MS", deadline.as_str()), ("LEDE_PREFETCH", "off")];
    let mut served = Served::start(FaultyDevice::onnx_runtime(), &settings).await;
    served.device.order(&format!("run slow:{STEP_MS} {ALWAYS}"));
    let http = client();
    let rate = rate(&served, &http).await;
    let seconds = std::env::var("LEDE_OVERLOAD_S").ok().and_then(|text| text.parse().ok()).unwrap_or(DURATION_S);
    let pause = Duration::from_secs_f64(1.0 / (rate * f64::from(TIMES)));
    let count = (seconds as f64 / pause.as_secs_f64()) as usize;
    let began = Instant::now();
    let outcomes = join_all((0..count).map(|number| {
        let (served, http) = (&served, &http);
        async move {
            tokio::time::sleep_until((began + pause * u32::try_from(number).expect("not so many")).into()).await;
            asked(served, http, 1_000 + number).await
        }
    }))
    .await;
    let mut refused = Vec::new();
    for Outcome { ended, took, said } in &outcomes {
        assert!(*took < DEADLINE + LATE_MAX, "{took:?}: {ended:?}");
        if let Ended::Problem(problem) = ended {
            assert!(matches!(problem.status, 503 | 504), "{problem:?}");
            assert_eq!(problem.status == 503, problem.retry_after_s.is_some(), "{problem:?}");
            if problem.status == 503 {
                refused.push((*took, *said));
            }
        }
    }
    report(rate, &outcomes, &refused);
    let answered = super::answered(outcomes.iter().map(|outcome| &outcome.ended));
    assert!(answered as f64 > rate * seconds as f64 / 4.0, "it is at work all along: {answered}");
    assert!(refused.len() > count / 2, "{} of {count} refused", refused.len());
    served.device.recover();
    assert!(matches!(served.ask(&about(9_999_999)).await, Ended::Answer(_)), "there is room again");
    served.assert_lives();
}

/// What came of it, for people.
#[expect(clippy::print_stderr, reason = "figures for who runs it by hand")]
fn report(rate: f64, outcomes: &[Outcome], refused: &[(Duration, Option<Duration>)]) {
    let answered = super::answered(outcomes.iter().map(|outcome| &outcome.ended));
    let (total, late) = (outcomes.len(), outcomes.len() - answered - refused.len());
    let refusals = refused.len();
    eprintln!("{rate:.1} answers/s alone; {total} asked: {answered} answered, {refusals} refused, {late} late");
    let by_client: Vec<Duration> = refused.iter().map(|(took, _)| *took).collect();
    let by_origin: Vec<Duration> = refused.iter().filter_map(|(_, said)| *said).collect();
    for (whose, took) in [("the origin's", by_origin), ("the client's", by_client)] {
        let prompt = took.iter().filter(|took| **took <= PROMPT).count();
        eprintln!("refused within {PROMPT:?} by {whose} clock: {prompt}, slowest {:?}", took.iter().max());
    }
}
