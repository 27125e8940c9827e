//! The cold tier on disk when the disk is full, read-only, damaged or taken, and after a crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lede_tests::{Origin, client, free_port, ok_json, path_from_environment, post};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Different requests of a test.
const REQUESTS: u32 = 12;
/// What was answered is flushed after a twentieth of this.
const FLUSH_MS: &str = "50";
const FLUSHED_WAIT: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(60);

fn settings(folder: &Path) -> Vec<(&'static str, &str)> {
    let folder = folder.to_str().expect("a temporary folder has a plain name");
    vec![("LEDE_COLD", "disk"), ("LEDE_COLD_DIR", folder), ("LEDE_COLD_FLUSH_MS", FLUSH_MS)]
}

fn request(number: u32) -> Value {
    json!({ "content_description": format!("The lighthouse on island number {number}"), "hashtag_count": 3 })
}

/// Caption and tier of an answer.
async fn ask(origin: &Origin, number: u32) -> (String, Option<String>) {
    let (_, answer) = ok_json(post(&origin.url, "/api/v14/generate", &request(number))).await;
    let caption = answer["caption"].as_str().expect("an answer has a caption");
    let tier = answer["performance_metrics"]["cache_tier"].as_str();
    (caption.to_owned(), tier.map(str::to_owned))
}

/// An answer follows from its request: whichever origin gives it and wherever it comes from, it is this one.
async fn captions(origin: &Origin) -> Vec<String> {
    let mut captions = Vec::new();
    for number in 0..REQUESTS {
        captions.push(ask(origin, number).await.0);
    }
    captions
}

/// Asks for everything twice: no answer may be wrong or lost. Returns how many of the first came from the cold tier.
async fn expect_all(origin: &Origin, captions: &[String]) -> usize {
    let mut cold = 0;
    for round in 0..2 {
        for (number, expected) in (0..).zip(captions) {
            let (caption, tier) = ask(origin, number).await;
            assert_eq!(caption, *expected, "request {number}, round {round}\n{}", origin.log());
            assert_eq!(round == 1, tier.as_deref() == Some("hot"), "request {number}: {tier:?}");
            cold += usize::from(tier.as_deref() == Some("cold"));
        }
    }
    cold
}

/// Otherwise it is brought back into memory at the start, and what is asked for next may come from there.
fn forget_what_was_popular(folder: &Path) {
    // It is written now and then, so it need not be there.
    let _ = fs::remove_file(folder.join("popular.json"));
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

/// The suite's model, whose tokenizer is a pipe: opening it waits until somebody writes to the pipe.
fn model_that_waits(folder: &Path) -> PathBuf {
    let model = path_from_environment("LEDE_MODEL_DIR");
    for entry in fs::read_dir(&model).expect("the model's folder") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "tokenizer.json" {
            std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).expect("a link");
        }
    }
    let pipe = folder.join("tokenizer.json");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    pipe
}

#[tokio::test]
async fn after_a_crash_under_load_what_was_kept_is_answered_before_the_model_is_open() {
    let (folder, model) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let mut origin = Origin::start_with(free_port(), &settings(folder.path())).await;
    let captions = captions(&origin).await;
    tokio::time::sleep(FLUSHED_WAIT).await;
    let url = origin.url.clone();
    let load = tokio::spawn(async move {
        for number in 1_000.. {
            if post(&url, "/api/v14/generate", &request(number)).send().await.is_err() {
                return number - 1_000;
            }
        }
        0
    });
    tokio::time::sleep(FLUSHED_WAIT).await;
    origin.kill();
    assert!(load.await.expect("the load ends with the origin") > 0);

    forget_what_was_popular(folder.path());
    let pipe = model_that_waits(model.path());
    let mut waiting = settings(folder.path());
    waiting.push(("LEDE_MODEL_DIR", model.path().to_str().expect("a plain name")));
    let origin = Origin::spawn(origin.port(), &waiting);
    let until = Instant::now() + SOON;
    while client().get(format!("{}/health/live", origin.url)).send().await.is_err() {
        assert!(Instant::now() < until, "it does not listen\n{}", origin.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (caption, tier) = ask(&origin, 0).await;
    assert_eq!((caption.as_str(), tier.as_deref()), (captions[0].as_str(), Some("cold")), "{}", origin.log());
    for (number, expected) in (1..).zip(&captions[1..]) {
        assert_eq!(ask(&origin, number).await, (expected.clone(), Some("cold".to_owned())), "{}", origin.log());
    }
    assert!(!origin.is_ready().await, "the model cannot be open");
    let missed = post(&origin.url, "/api/v14/generate", &request(999)).send().await.expect("an answer");
    assert_eq!(missed.status().as_u16(), 503, "what was not kept waits for the model");

    let tokenizer = path_from_environment("LEDE_MODEL_DIR").join("tokenizer.json");
    fs::copy(tokenizer, pipe).expect("the pipe is read");
    while !origin.is_ready().await {
        assert!(Instant::now() < until, "the model is not open\n{}", origin.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask(&origin, 999).await;
}

#[tokio::test]
async fn a_damaged_folder_costs_a_cold_start_and_no_answer() {
    let folder = TempDir::new().expect("a folder");
    let mut origin = Origin::start_with(free_port(), &settings(folder.path())).await;
    let captions = captions(&origin).await;
    origin.terminate();
    assert!(origin.wait(SOON).is_some_and(|status| status.success()), "{}", origin.log());
    forget_what_was_popular(folder.path());
    // Sound, it answers everything.
    let mut origin = Origin::start_with(free_port(), &settings(folder.path())).await;
    assert_eq!(expect_all(&origin, &captions).await, captions.len());
    origin.kill();
    for file in files_in(folder.path()) {
        let length = fs::metadata(&file).expect("a file").len();
        let garbage = vec![0x5a; usize::try_from(length).expect("a small file")];
        fs::write(&file, garbage).expect("the file can be written");
    }
    let origin = Origin::start_with(free_port(), &settings(folder.path())).await;
    assert_eq!(expect_all(&origin, &captions).await, 0);
    assert!(!origin.log().contains("panicked"), "{}", origin.log());
}

#[tokio::test]
async fn a_full_a_crowded_and_a_read_only_disk_cost_no_answer() {
    let folder = TempDir::new().expect("a folder");
    let captions = captions(&Origin::start().await).await;
    for (disk, said) in [
        // Smaller than what is left to others: nothing may be written.
        ("size=8m", "the disk is full"),
        // Room for bytes, but soon not for files: writing fails in the middle.
        ("size=200m,nr_inodes=16", "the cold tier cannot be written"),
        ("size=200m,ro", "there is no cold tier while this lasts"),
    ] {
        let mount = format!("mount -t tmpfs -o {disk} tmpfs '{}'", folder.path().display());
        let origin = Origin::start_within(&mount, &settings(folder.path())).await;
        assert_eq!(expect_all(&origin, &captions).await, 0, "{disk}");
        let (until, mut other) = (Instant::now() + SOON, 10_000);
        while !origin.log().contains(said) {
            assert!(Instant::now() < until, "{disk}: the log says nothing of it\n{}", origin.log());
            other += 1;
            ask(&origin, other).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        expect_all_hot(&origin, &captions).await;
    }
}

async fn expect_all_hot(origin: &Origin, captions: &[String]) {
    for (number, expected) in (0..).zip(captions) {
        assert_eq!(ask(origin, number).await, (expected.clone(), Some("hot".to_owned())));
    }
}

#[tokio::test]
async fn a_second_origin_on_the_same_folder_goes_without_a_cold_tier() {
    let folder = TempDir::new().expect("a folder");
    let first = Origin::start_with(free_port(), &settings(folder.path())).await;
    let captions = captions(&first).await;
    tokio::time::sleep(FLUSHED_WAIT).await;
    let second = Origin::start_with(free_port(), &settings(folder.path())).await;
    assert_eq!(expect_all(&second, &captions).await, 0);
    assert!(second.log().contains("another process uses it"), "{}", second.log());
}
