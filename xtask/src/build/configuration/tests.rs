use super::*;

/// Complete, with one of everything.
const COMPLETE: &str = r#"
name = "a"
migrations = [{ tag = "v1", new_sqlite_classes = ["Quota"] }]

[[kv_namespaces]]
binding = "CAPTIONS"
id = "00000000000000000000000000000000"
[[env.staging.kv_namespaces]]
binding = "CAPTIONS"
id = "11111111111111111111111111111111"
[[env.production.kv_namespaces]]
binding = "CAPTIONS"
id = "22222222222222222222222222222222"

[vars]
ORIGINS = "http://127.0.0.1:8140"
[env.staging.vars]
ORIGINS = "https://staging.captions.net"
[env.production.vars]
ORIGINS = "https://one.captions.net"

[durable_objects]
bindings = [{ name = "QUOTA", class_name = "Quota" }]
[env.staging.durable_objects]
bindings = [{ name = "QUOTA", class_name = "Quota" }]
[env.production.durable_objects]
bindings = [{ name = "QUOTA", class_name = "Quota" }]

[triggers]
crons = ["*/15 * * * *"]

[env.staging]
routes = [{ pattern = "staging.captions.net", custom_domain = true }]
[env.production]
routes = [{ pattern = "captions.net", custom_domain = true }]
"#;

fn parsed(text: &str) -> Configuration {
    Configuration::parse(text).unwrap()
}

/// What `unfinished` says of production after one change of [`COMPLETE`].
fn unfinished_with(from: &str, to: &str) -> Vec<String> {
    assert!(COMPLETE.contains(from), "{from}");
    parsed(&COMPLETE.replace(from, to)).unfinished("production").unwrap()
}

#[test]
fn the_repository_s_own_environments_have_the_same_parts() {
    let own = parsed(include_str!("../../../../wrangler.toml"));
    assert_eq!(own.differences(), Vec::<String>::new());
}

#[test]
fn the_repository_s_own_placeholders_are_all_that_keeps_it_from_being_deployed() {
    let own = parsed(include_str!("../../../../wrangler.toml"));
    for environment in DEPLOYED {
        let faults = own.unfinished(environment).unwrap();
        assert!(faults.len() >= 3, "{faults:?}");
        for fault in faults {
            assert!(fault.contains("placeholder"), "{fault}");
        }
    }
}

#[test]
fn a_complete_configuration_has_no_faults() {
    assert_eq!(parsed(COMPLETE).differences(), Vec::<String>::new());
    for environment in DEPLOYED {
        assert_eq!(parsed(COMPLETE).unfinished(environment).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_environment_that_lacks_what_another_has_is_named_with_it() {
    for (added, expected) in [
        ("[[ratelimits]]\nname = \"PER_KEY\"", "production lacks ratelimits PER_KEY, which development has"),
        ("[env.staging.triggers]\ncrons = []\nother = 1", "production lacks triggers.other, which staging has"),
        (
            "[[env.production.kv_namespaces]]\nbinding = \"KEYS\"",
            "staging lacks kv_namespaces KEYS, which production has",
        ),
    ] {
        let faults = parsed(&format!("{COMPLETE}\n{added}\n")).differences();
        assert!(faults.iter().any(|fault| fault == expected), "{expected}: {faults:?}");
    }
    let without_var = COMPLETE.replace("ORIGINS = \"https://one.captions.net\"", "");
    assert_eq!(parsed(&without_var).differences(), ["production lacks vars.ORIGINS, which development has"]);
}

#[test]
fn what_wrangler_hands_down_need_not_be_repeated() {
    let triggers = "[triggers]\ncrons = [\"*/15 * * * *\"]\n";
    let at_each = COMPLETE.replace(triggers, &format!("{triggers}[env.staging.triggers]\ncrons = []\n"));
    assert_eq!(parsed(&at_each).differences(), Vec::<String>::new());
}

#[test]
fn a_placeholder_or_a_shared_namespace_is_refused() {
    let placeholder = unfinished_with(&"2".repeat(32), &"0".repeat(32));
    assert_eq!(placeholder, ["env.production: kv_namespaces CAPTIONS has a placeholder for its id"]);
    let shared = unfinished_with(&"2".repeat(32), &"1".repeat(32));
    assert_eq!(shared, ["env.production: kv_namespaces CAPTIONS has the id of staging"]);
}

#[test]
fn an_origin_in_the_clear_on_this_machine_or_of_nobody_is_refused() {
    for (url, why) in [
        ("http://one.captions.net", "is not https"),
        ("https://127.0.0.1:8140", "not reachable"),
        ("https://localhost", "not reachable"),
        ("https://192.168.1.4:8140", "not reachable"),
        ("https://[::1]:8140", "not reachable"),
        ("https://origin.lede.example", "placeholder"),
        ("https://two.captions.net;weight=2,http://three.captions.net", "is not https"),
    ] {
        let faults = unfinished_with("https://one.captions.net", url);
        assert_eq!(faults.len(), 1, "{url}: {faults:?}");
        assert!(faults[0].contains(why), "{url}: {faults:?}");
    }
}

#[test]
fn a_secret_among_the_vars_an_empty_var_a_missing_route_and_an_unmade_class_are_refused() {
    let url = "ORIGINS = \"https://one.captions.net\"";
    let secret = unfinished_with(url, &format!("{url}\nEDGE_SIGNING_KEY = \"k1=0b0b\""));
    assert!(secret.len() == 1 && secret[0].contains("is a secret"), "{secret:?}");
    let empty = unfinished_with(url, &format!("{url}\nMODEL = \" \""));
    assert!(empty.len() == 1 && empty[0].contains("vars.MODEL must be text"), "{empty:?}");
    let route = unfinished_with("routes = [{ pattern = \"captions.net\", custom_domain = true }]", "");
    assert!(route.len() == 1 && route[0].contains("no route"), "{route:?}");
    let class = unfinished_with("new_sqlite_classes = [\"Quota\"]", "new_sqlite_classes = []");
    assert_eq!(class, ["env.production: no migration has Quota among its new_sqlite_classes"]);
}

#[test]
fn development_and_an_unknown_environment_cannot_be_deployed() {
    let development = parsed(COMPLETE).unfinished(DEVELOPMENT).unwrap();
    assert!(development[0].contains("--env staging"), "{development:?}");
    let unknown = parsed(COMPLETE).unfinished("live").unwrap_err().to_string();
    assert!(unknown.contains("live") && unknown.contains("production"), "{unknown}");
}

#[test]
fn wrangler_dev_builds_what_is_not_filled_in() {
    for (command, expected) in [
        (None, false),
        (Some("dev"), false),
        (Some("types"), false),
        (Some("deploy"), true),
        (Some("versions upload"), true),
    ] {
        assert_eq!(deploys(command), expected, "{command:?}");
    }
}
