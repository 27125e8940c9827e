//! The built Worker in the real workerd.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Process, cpu_centiseconds};
use crate::{SIGNING_KEY, api_key_hashes, client, path_from_environment, repository_root};

const READY_WAIT: Duration = Duration::from_secs(60);

/// What is around a Worker besides its origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Where Workers KV lies, when it is to outlive this workerd.
    pub workers_kv: Option<&'a Path>,
    /// The same for the data centre's cache.
    pub colo: Option<&'a Path>,
    /// The Worker alone: what is to run its cron event has no assets before it.
    pub without_assets: bool,
    /// What fails: see `edge_faults.mjs`.
    pub faults: &'a [&'a str],
}

/// A running edge.
pub struct Edge {
    process: Process,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
}

impl Edge {
    /// Starts the Worker in workerd on a free port, in front of `origin_url`, with an empty Workers KV.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start(origin_url: &str) -> Self {
        Self::start_with(origin_url, &json!({}))
    }

    /// The same with more variables, which replace those of `wrangler.toml`.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start_with(origin_url: &str, vars: &Value) -> Self {
        Self::start_in(origin_url, vars, &Surroundings::default())
    }

    /// The same with stores that outlive this workerd, or with faults of the platform.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start_in(origin_url: &str, vars: &Value, surroundings: &Surroundings<'_>) -> Self {
        Self::start_worker(origin_url, vars, surroundings, &json!({}))
    }

    /// Starts the Worker, or the one of `script`, with a socket of its own, so that workerd's CPU seconds are the Worker's.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start_for_measuring(origin_url: &str, vars: &Value, script: Option<&Path>) -> Self {
        let how = json!({ "direct": true, "script": script });
        Self::start_worker(origin_url, vars, &Surroundings::default(), &how)
    }

    fn start_worker(origin_url: &str, vars: &Value, surroundings: &Surroundings<'_>, how: &Value) -> Self {
        let mut all = json!({
            "ORIGINS": origin_url, "API_KEY_HASHES": api_key_hashes(), "EDGE_SIGNING_KEY": SIGNING_KEY,
        });
        for (name, value) in vars.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let root = repository_root();
        let mut settings = json!({
            "configPath": root.join("wrangler.toml"), "modulesRoot": path_from_environment("LEDE_EDGE_DIR"), "vars": all,
            "kept": { "workersKv": surroundings.workers_kv, "colo": surroundings.colo }, "faults": surroundings.faults,
            "withoutAssets": surroundings.without_assets,
        });
        for (name, value) in how.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        let mut command = Command::new("node");
        command
            .arg(root.join("tests/support/edge.mjs"))
            .current_dir(&root)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .env("CI", "true")
            .stdin(Stdio::piped());
        let mut process = Process::start(command, true);
        let line = format!("{settings}\n");
        // The pipe stays open: its end is the script's sign to stop.
        let stdin = process.child().stdin.as_mut().expect("standard input is a pipe");
        stdin.write_all(line.as_bytes()).expect("the script reads its settings");
        let url = first_url(&mut process);
        Self { process, url }
    }

    /// Runs the cron event to its end.
    ///
    /// # Panics
    /// When the Worker does not do it.
    pub async fn run_cron(&self) {
        let sent = client().get(format!("{}/cdn-cgi/handler/scheduled", self.url)).send().await;
        assert!(sent.is_ok_and(|answer| answer.status().is_success()), "the cron event failed:\n{}", self.log());
    }

    /// What workerd and the script have written.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// CPU time that workerd has used so far, all its threads together, in hundredths of a second.
    ///
    /// # Panics
    /// When workerd is not there.
    #[must_use]
    pub fn cpu_centiseconds(&self) -> u64 {
        self.process.children_named("workerd").iter().filter_map(|pid| cpu_centiseconds(*pid)).sum()
    }

    /// Is it still there?
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        !self.process.has_ended()
    }
}

/// The URL that the script prints once the Worker answers. Everything it prints later is thrown away, so that the
/// pipe never fills.
fn first_url(process: &mut Process) -> String {
    let stdout = process.child().stdout.take().expect("standard output is a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let announced = serde_json::from_str::<Value>(&line).ok();
            if let Some(url) = announced.as_ref().and_then(|value| value["url"].as_str()) {
                let _ = sender.send(url.to_owned());
            }
        }
    });
    receiver.recv_timeout(READY_WAIT).unwrap_or_else(|_| panic!("workerd does not answer:\n{}", process.log()))
}
