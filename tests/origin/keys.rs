//! Keys from the command line, and an origin that goes by them without being started again.

use std::time::{Duration, Instant};

use lede_shared::api_key::ApiKeyHash;
use lede_tests::{KeysFile, Origin, client, free_port, sunset};

const STOP_WAIT: Duration = Duration::from_secs(10);
/// The origin looks at its file once a second.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_500);

async fn status(origin: &Origin, api_key: &str) -> u16 {
    let request = client().post(format!("{}/api/v14/generate", origin.url)).bearer_auth(api_key).json(&sunset());
    request.send().await.unwrap().status().as_u16()
}

async fn becomes(origin: &Origin, api_key: &str, wanted: u16) {
    let begun = Instant::now();
    while status(origin, api_key).await != wanted {
        assert!(begun.elapsed() < NOTICED_WITHIN, "it does not become {wanted}:\n{}", origin.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The digits by which the only line about `tenant` calls its key.
fn id_of(keys: &KeysFile, tenant: &str) -> String {
    let list = keys.run(&["list"]).must_succeed().to_owned();
    let mut lines = list.lines().filter(|line| line.split_whitespace().nth(1) == Some(tenant));
    let line = lines.next().unwrap_or_else(|| panic!("no key of {tenant}: {list}"));
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_key_is_made_listed_replaced_and_revoked_and_never_shown_again() {
    let keys = KeysFile::new().plan("pro", "cells_per_minute = 6000");
    let api_key = keys.create(&["--tenant", "acme", "--plan", "pro", "--scope", "captions", "--scope", "admin"]);
    let digits = api_key.strip_prefix("lede_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{api_key}");
    let hash = ApiKeyHash::of(&api_key).to_string();
    let list = keys.run(&["list"]).must_succeed().to_owned();
    assert!(list.contains("captions,admin") && list.contains("pro") && list.contains(&hash[..12]), "{list}");
    assert!(!list.contains(&hash) && !list.contains(digits), "{list}");
    assert!(keys.read().contains(&hash) && !keys.read().contains(digits));

    let successor = keys.run(&["rotate", &hash[..12]]);
    assert_ne!(successor.must_succeed().trim(), api_key);
    assert!(successor.complained.contains("24 hours"), "{}", successor.complained);
    keys.run(&["revoke", &hash[..8]]).must_succeed();
    let list = keys.run(&["list"]).must_succeed().to_owned();
    assert_eq!(list.lines().filter(|line| line.contains("  no")).count(), 1, "{list}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let keys = KeysFile::new();
    keys.run(&["create", "--tenant", "acme", "--plan", "gold"]).must_fail_with("there is no plan gold");
    keys.run(&["create", "--tenant", "lede-edge"]).must_fail_with("no key may be given");
    keys.run(&["revoke", "0123456789ab"]).must_fail_with("no key is called so");
    keys.write("[[keys]]\nhash = 7");
    keys.run(&["list"]).must_fail_with("line 2");
    keys.run(&["create", "--tenant", "acme"]).must_fail_with("line 2");
    assert_eq!(keys.read(), "[[keys]]\nhash = 7");
}

#[tokio::test]
async fn a_running_origin_takes_new_keys_and_stops_revoked_ones() {
    let keys = KeysFile::new();
    let origin = Origin::start_with(free_port(), &[("LEDE_KEYS_FILE", &keys.path())]).await;
    let api_key = keys.create(&["--tenant", "acme"]);
    becomes(&origin, &api_key, 200).await;
    keys.write(&format!("{}\noops", keys.read()));
    tokio::time::sleep(NOTICED_WITHIN).await;
    assert_eq!(status(&origin, &api_key).await, 200);
    assert!(origin.log().contains("what it said before still holds"), "{}", origin.log());
    keys.write(&keys.read().replace("oops", ""));
    keys.run(&["revoke", &id_of(&keys, "acme")]).must_succeed();
    becomes(&origin, &api_key, 401).await;
    let hash = ApiKeyHash::of(&api_key).to_string();
    assert!(!origin.log().contains(&hash) && !origin.log().contains(&api_key));
}

#[test]
fn an_origin_does_not_start_on_keys_that_it_cannot_read() {
    let keys = KeysFile::new();
    keys.write("keys = 5");
    let mut origin = Origin::spawn(free_port(), &[("LEDE_KEYS_FILE", &keys.path())]);
    assert!(origin.wait(STOP_WAIT).is_some_and(|status| !status.success()));
    assert!(origin.log().contains("LEDE_KEYS_FILE: "), "{}", origin.log());
}
