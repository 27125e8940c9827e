//! The pages in a real Chromium, in front of the real edge and the real origin. What is done there stands in the
//! `*.test.mjs` files; the screenshots go to `target/screenshots`.
#![expect(clippy::panic, reason = "a suite that cannot reach its own processes has failed")]

use lede_tests::{API_KEY, Edge, Origin, node, path_from_environment};

#[tokio::test]
async fn the_playground_and_the_documentation_work_in_a_browser_and_have_no_accessibility_faults() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let mut script = node("tests/browser", &["--test", "--test-reporter=spec", "playground.test.mjs"]);
    script
        .env("LEDE_URL", &edge.url)
        .env("LEDE_API_KEY", API_KEY)
        .env("LEDE_CHROMIUM", path_from_environment("LEDE_CHROMIUM"))
        .env("LEDE_SCREENSHOTS", path_from_environment("LEDE_SCREENSHOTS"));
    let output = script.output().unwrap_or_else(|error| panic!("node cannot be started: {error}"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println_for_people(&told);
}

#[expect(clippy::print_stdout, reason = "sizes and times are worth seeing with --no-capture")]
fn println_for_people(told: &str) {
    println!("{told}");
}
