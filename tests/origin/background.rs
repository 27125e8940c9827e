//! What the origin does while nobody waits, and what it says of answers that are no longer fresh.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lede_tests::{Origin, free_port, ok_json, post, sunset};
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";

/// What `Cache-Status` and `Age` say.
async fn told(origin: &Origin, body: &Value) -> (String, u64) {
    let (headers, _) = ok_json(post(&origin.url, GENERATE, body)).await;
    let age = headers["age"].to_str().unwrap().parse().unwrap();
    (headers["cache-status"].to_str().unwrap().to_owned(), age)
}

/// Asks until the answer is fresh again.
async fn is_renewed(origin: &Origin, body: &Value) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, _) = told(origin, body).await;
        if status.contains("hit") && !status.contains("ttl=-") {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_with_its_age_and_renewed_behind() {
    let origin = Origin::start_with(free_port(), &[("LEDE_FRESH_MS", "1500")]).await;
    told(&origin, &sunset()).await;
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    let finished = origin.engine_work().await;
    let (status, age) = told(&origin, &sunset()).await;
    assert!(status.contains("lede-origin; hit; ttl=-"), "{status}");
    assert!(age >= 2, "{age}");
    assert!(is_renewed(&origin, &sunset()).await, "{}", origin.log());
    assert_ne!(origin.engine_work().await, finished, "the device has worked for it");
}

/// Steps of the device so far.
async fn steps(origin: &Origin) -> u64 {
    origin.engine_work().await["decode_steps"].as_u64().unwrap()
}

#[tokio::test]
async fn who_cannot_wait_for_a_busy_engine_is_given_a_stale_answer_at_once() {
    let settings = [
        ("LEDE_FRESH_MS", "1000"),
        ("LEDE_STALE_WHILE_REVALIDATE_MS", "0"),
        ("LEDE_SEQUENCES_MAX", "1"),
        ("LEDE_WAITING_SEQUENCES_MAX", "10000"),
    ];
    // What the caller has, and how much longer than that the device is at work before: then it is known that it takes long,
    // however fast or slow it is.
    let (patience, at_work) = (Duration::from_secs(4), Duration::from_secs(5));
    let origin = Origin::start_with(free_port(), &settings).await;
    told(&origin, &sunset()).await;
    let before = steps(&origin).await;
    // Each is so long that few of them leave meanwhile, and together they are more than any device writes in the time.
    let crowd = |name: u32| json!({ "content_description": format!("crowd {name}"), "optimization_level": "quality", "variants": 8 });
    let crowd: Vec<_> =
        (0..150).map(|name| tokio::spawn(post(&origin.url, GENERATE, &crowd(name)).send())).collect();
    let until = Instant::now() + Duration::from_secs(60);
    while steps(&origin).await == before {
        assert!(Instant::now() < until, "{}", origin.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(at_work).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let deadline = (now + patience).as_millis().to_string();
    let asked_at = Instant::now();
    let request = post(&origin.url, GENERATE, &sunset()).header("x-deadline-ms", deadline);
    let (headers, _) = ok_json(request).await;
    let status = headers["cache-status"].to_str().unwrap();
    assert!(status.contains("lede-origin; hit; ttl=-"), "{status}");
    // Who had waited would have done so until the deadline.
    assert!(asked_at.elapsed() < patience * 3 / 4, "it waited {:?}", asked_at.elapsed());
    crowd.iter().for_each(|one| one.abort());
}

/// The suite's model in `folder`, but for its tokenizer: whoever reads that waits until somebody writes it.
fn model_that_is_waited_for(folder: &Path) -> PathBuf {
    let model = PathBuf::from(std::env::var_os("LEDE_MODEL_DIR").unwrap()).canonicalize().unwrap();
    for entry in std::fs::read_dir(&model).unwrap().flatten() {
        if entry.file_name() != "tokenizer.json" {
            symlink(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let pipe = folder.join("tokenizer.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    pipe
}

#[tokio::test]
async fn while_the_model_is_loaded_a_stale_answer_is_given_at_once_and_renewed_when_it_is_there() {
    let (kept, model) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pipe = model_that_is_waited_for(model.path());
    let mut settings = vec![
        ("LEDE_COLD", "disk"),
        ("LEDE_COLD_DIR", kept.path().to_str().unwrap()),
        ("LEDE_FRESH_MS", "1500"),
        ("LEDE_STALE_WHILE_REVALIDATE_MS", "0"),
    ];
    let mut origin = Origin::start_with(free_port(), &settings).await;
    told(&origin, &sunset()).await;
    origin.terminate();
    assert!(origin.wait(Duration::from_secs(20)).is_some(), "{}", origin.log());
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    settings.push(("LEDE_MODEL_DIR", model.path().to_str().unwrap()));
    let restarted = Origin::spawn(free_port(), &settings);
    let until = Instant::now() + Duration::from_secs(20);
    while post(&restarted.url, GENERATE, &sunset()).send().await.is_err() {
        assert!(Instant::now() < until, "{}", restarted.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, _) = told(&restarted, &sunset()).await;
    assert!(status.contains("lede-origin; hit; ttl=-"), "{status}");
    assert!(!restarted.is_ready().await);
    let tokenizer = Path::new(&std::env::var_os("LEDE_MODEL_DIR").unwrap()).join("tokenizer.json");
    // In a thread of its own: it waits for its reader.
    std::thread::spawn(move || std::fs::write(pipe, std::fs::read(tokenizer).unwrap()));
    assert!(is_renewed(&restarted, &sunset()).await, "{}", restarted.log());
}

#[tokio::test]
async fn what_was_popular_is_written_down_for_its_owner_alone_and_said_in_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let settings = [("LEDE_COLD", "disk"), ("LEDE_COLD_DIR", dir)];
    let body = json!({ "content_description": "a Voltrix espresso machine" });
    let mut origin = Origin::start_with(free_port(), &settings).await;
    for _ in 0..3 {
        told(&origin, &body).await;
    }
    origin.terminate();
    assert!(origin.wait(Duration::from_secs(20)).is_some_and(|status| status.success()), "{}", origin.log());
    let file = folder.path().join("popular.json");
    assert!(std::fs::read_to_string(&file).unwrap().contains("Voltrix"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let log = origin.log();
    let restarted = Origin::start_with(free_port(), &settings).await;
    let until = Instant::now() + Duration::from_secs(20);
    while !restarted.log().contains("what was popular is brought back") {
        assert!(Instant::now() < until, "{}", restarted.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nobody who asks like this causes any work.
    let kept = || post(&restarted.url, GENERATE, &body).header("cache-control", "only-if-cached").send();
    while !kept().await.unwrap().status().is_success() {
        assert!(Instant::now() < until, "{}", restarted.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!(log + &restarted.log()).contains("Voltrix"));
}
