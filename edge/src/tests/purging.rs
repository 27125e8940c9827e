//! Purges: what they reach, when, and what happens when their records cannot be read or written.

use std::rc::Rc;

use futures_util::FutureExt;
use lede_shared::api::CaptionRequest;
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::headers::X_LEDE_CLAIMS;
use lede_shared::plan::{KeyRecord, Plan, Scope};
use lede_shared::policy::POLICY;
use lede_shared::problem::ProblemCode;
use lede_shared::purge::PurgeScope;

use super::deployment::{Deployment, NOW_MS, binding, generate, json, post, problem, request};
use super::fixtures::{MODEL, answer, sound_origin};
use crate::auth::Principal;
use crate::bindings::BindingError;
use crate::bindings::in_memory::StoreHealth;
use crate::config::Config;
use crate::http::{JSON, Method};
use crate::response_cache::epochs::{self, HOLDS_EVERYWHERE_AFTER_MS};
use crate::response_cache::key_of;

const SUNSET: &str = r#"{"content_description": "Sunset over the ocean"}"#;
const PURGE: &str = "/admin/v1/purge";

fn purge(deployment: &Deployment, scope: &PurgeScope) -> Result<UnixMillis, BindingError> {
    epochs::purge(&deployment.context(), scope).now_or_never().expect("twins do not wait")
}

fn is_hit(deployment: &Deployment) -> bool {
    let response = deployment.send_and_finish(generate(SUNSET));
    json(&response)["performance_metrics"]["cache_hit"].as_bool().unwrap()
}

fn everything_shared() -> [PurgeScope; 3] {
    [PurgeScope::All, PurgeScope::Model(MODEL.to_owned()), PurgeScope::Policy(POLICY.version.to_owned())]
}

fn principal(tenant: &str, cache_is_private: bool) -> Principal {
    let record = KeyRecord::standard(TenantId::parse(tenant).unwrap());
    Principal { record: Rc::new(KeyRecord { plan: Plan { cache_is_private, ..record.plan }, ..record }) }
}

/// The key of the sunset's caption for a caller.
fn key(deployment: &Deployment, principal: &Principal) -> CacheKey {
    let wanted = CaptionRequest::from_json(SUNSET.as_bytes()).unwrap().validate().unwrap();
    let key = key_of(&deployment.context(), principal, &wanted).now_or_never().expect("twins do not wait");
    deployment.background.finish();
    key
}

#[test]
fn a_purge_holds_at_once_where_it_was_made_and_everywhere_when_it_says() {
    for scope in everything_shared() {
        let deployment = Deployment::new();
        let (same_colo, elsewhere) = (deployment.another_isolate(), deployment.elsewhere());
        for isolate in [&deployment, &deployment, &same_colo, &elsewhere] {
            is_hit(isolate);
        }
        assert_eq!(deployment.origin_requests(), 1);
        purge(&deployment, &scope).unwrap();
        assert!(!is_hit(&deployment), "{scope:?}");
        assert!(is_hit(&same_colo) && is_hit(&elsewhere), "they use what they know for a while");

        deployment.clock.advance_s(HOLDS_EVERYWHERE_AFTER_MS / 1_000);
        assert!(!is_hit(&deployment.elsewhere()), "{scope:?}: a new isolate elsewhere");
        is_hit(&elsewhere);
        let requests = deployment.origin_requests();
        for isolate in [&deployment, &same_colo, &elsewhere] {
            assert!(is_hit(isolate), "{scope:?}: of what was generated after the purge");
        }
        assert!(requests <= 4, "{requests}");
    }
}

#[test]
fn callers_wait_for_the_records_only_in_a_new_isolate_or_after_a_long_pause() {
    let deployment = Deployment::new();
    is_hit(&deployment);
    is_hit(&deployment);
    purge(&deployment.another_isolate(), &PurgeScope::All).unwrap();
    deployment.clock.advance_s(31);
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
    let aged = deployment.send(generate(SUNSET));
    assert_eq!(json(&aged)["performance_metrics"]["cache_hit"], true, "nobody waits");
    deployment.background.finish();
    assert!(!is_hit(&deployment), "read behind the answer");

    purge(&deployment.another_isolate(), &PurgeScope::All).unwrap();
    deployment.clock.advance_s(61);
    assert!(!is_hit(&deployment), "what is known is too old to be used");
}

#[test]
fn the_records_are_read_once_for_many_requests() {
    let deployment = Deployment::new();
    for _ in 0..100 {
        is_hit(&deployment);
    }
    // Three records, the caption's first look-up, and the look before the write.
    assert_eq!(deployment.captions.reads.get(), 5);
}

#[test]
fn a_purge_of_another_model_policy_or_tenant_reaches_nothing_here() {
    let deployment = Deployment::new();
    is_hit(&deployment);
    for scope in [
        PurgeScope::Model("another-model".to_owned()),
        PurgeScope::Policy("2020-01".to_owned()),
        PurgeScope::Tenant(TenantId::parse("acme").unwrap()),
    ] {
        purge(&deployment, &scope).unwrap();
        deployment.clock.advance_s(1);
        assert!(is_hit(&deployment), "{scope:?}");
    }
}

#[test]
fn a_purge_reaches_the_origin_s_cache_in_the_signed_claims() {
    let deployment = Deployment::new();
    let epoch = || {
        let requests = deployment.origin.requests.borrow();
        let claims = requests.last().unwrap().headers.get(X_LEDE_CLAIMS).unwrap().to_owned();
        claims.split("epoch=").nth(1).unwrap().split(';').next().unwrap().parse::<u64>().unwrap()
    };
    is_hit(&deployment);
    assert_eq!(epoch(), 1, "the configured one");
    let mut before = epoch();
    for scope in everything_shared() {
        let epoch_ms = purge(&deployment, &scope).unwrap();
        assert!(!is_hit(&deployment));
        assert_eq!(epoch(), before + epoch_ms.0);
        before = epoch();
    }
}

#[test]
fn purges_made_at_the_same_time_do_not_undo_each_other() {
    let deployment = Deployment::new();
    let (one, other) = (deployment.elsewhere(), deployment.elsewhere());
    let before = key(&deployment, &principal("acme", false));
    purge(&one, &PurgeScope::All).unwrap();
    purge(&other, &PurgeScope::Model(MODEL.to_owned())).unwrap();
    let fresh = || deployment.another_isolate();
    let both = key(&fresh(), &principal("acme", false));
    let records = deployment.captions.names("epoch:");
    assert_eq!(records, ["epoch:all:", "epoch:model:lede-nano-1"]);
    for lost in records {
        let kept = deployment.captions.entries.borrow_mut().remove(&lost).unwrap();
        let without = key(&fresh(), &principal("acme", false));
        assert!(without != both && without != before, "{lost} counts");
        deployment.captions.entries.borrow_mut().insert(lost, kept);
    }
}

#[test]
fn the_same_purge_twice_in_a_millisecond_or_under_a_clock_that_steps_back_is_two_purges() {
    let deployment = Deployment::new();
    is_hit(&deployment);
    let first = purge(&deployment, &PurgeScope::All).unwrap();
    let second = purge(&deployment, &PurgeScope::All).unwrap();
    deployment.clock.0.set(deployment.clock.0.get() - 5_000);
    let third = purge(&deployment, &PurgeScope::All).unwrap();
    assert!(first < second && second < third);
}

#[test]
fn unreadable_records_leave_what_is_known_and_a_log_line() {
    for health in [StoreHealth::Failing, StoreHealth::Hanging] {
        let deployment = Deployment::new();
        is_hit(&deployment);
        purge(&deployment, &PurgeScope::All).unwrap();
        is_hit(&deployment);
        let purged = key(&deployment, &principal("acme", false));
        deployment.captions.health.set(health);
        deployment.clock.advance_s(HOLDS_EVERYWHERE_AFTER_MS / 1_000);
        assert_eq!(key(&deployment, &principal("acme", false)), purged, "{health:?}: not unpurged");
        assert!(deployment.log.has("epochs_unreadable"));
        assert!(is_hit(&deployment), "{health:?}: captions are still answered");
    }
}

#[test]
fn a_record_of_another_form_counts_as_unreadable() {
    let deployment = Deployment::new();
    let known = key(&deployment, &principal("acme", false));
    for record in [&b"{\"version\":2,\"epoch_ms\":7}"[..], b"seven", b""] {
        deployment.captions.entries.borrow_mut().insert("epoch:all:".to_owned(), (record.to_vec(), 60));
        assert_eq!(key(&deployment.another_isolate(), &principal("acme", false)), known);
        assert!(deployment.log.has("epochs_unreadable"));
    }
}

#[test]
fn tenants_share_entries_unless_they_ask_for_their_own() {
    let deployment = Deployment::new();
    let of = |tenant, is_private| key(&deployment, &principal(tenant, is_private));
    assert_eq!(of("acme", false), of("umbrella", false));
    assert_ne!(of("acme", true), of("umbrella", true));
    assert_ne!(of("acme", true), of("acme", false));
    assert_eq!(of("acme", true), of("acme", true));
}

#[test]
fn a_tenant_s_own_entries_are_purged_alone() {
    let deployment = Deployment::new();
    let of = |tenant, is_private| key(&deployment, &principal(tenant, is_private));
    let keys = || [of("acme", true), of("umbrella", true), of("acme", false)];
    let before = keys();
    purge(&deployment, &PurgeScope::Tenant(TenantId::parse("acme").unwrap())).unwrap();
    let after = keys();
    assert_eq!([0, 1, 2].map(|index| before[index] == after[index]), [false, true, true]);
    purge(&deployment, &PurgeScope::All).unwrap();
    assert!(keys().iter().zip(after).all(|(now, then)| *now != then), "all reaches every tenant");
}

#[test]
fn many_tenants_with_entries_of_their_own_are_remembered_within_a_bound_and_correctly() {
    let deployment = Deployment::new();
    let of = |number: u32| key(&deployment, &principal(&format!("tenant-{number}"), true));
    let first = of(0);
    for number in 0..3_000 {
        of(number);
    }
    assert_eq!(of(0), first);
    let purged = PurgeScope::Tenant(TenantId::parse("tenant-0").unwrap());
    purge(&deployment, &purged).unwrap();
    assert_ne!(of(0), first);
}

/// A deployment in front of an origin that knows one key, which may do everything and shares nothing.
fn of_an_administrator() -> Deployment {
    let record = KeyRecord {
        tenant: TenantId::parse("acme").unwrap(),
        scopes: vec![Scope::Captions, Scope::Admin],
        plan: Plan { cache_is_private: true, ..Plan::default() },
    };
    let record = serde_json::json!(record).to_string();
    let mut deployment = Deployment::with_origin(move |request| {
        if request.url.contains("/internal/keys/") {
            Ok(answer(200, JSON, &record))
        } else {
            sound_origin(request)
        }
    });
    let config = Config::read(|name| binding(name).filter(|_| name != "API_KEY_HASHES"));
    deployment.config = config.map(Rc::new);
    deployment
}

#[test]
fn an_administrator_purges_over_http_and_is_told_from_when_it_holds() {
    let deployment = of_an_administrator();
    for (scope, name) in
        [("all", None), ("tenant", Some("acme")), ("model", Some(MODEL)), ("policy", Some("2025-12"))]
    {
        is_hit(&deployment);
        assert!(is_hit(&deployment), "{scope}");
        let body = match name {
            Some(name) => format!(r#"{{"scope": "{scope}", "name": "{name}"}}"#),
            None => format!(r#"{{"scope": "{scope}"}}"#),
        };
        let response = deployment.send_and_finish(post(PURGE, body.as_bytes()));
        assert_eq!(response.status, 200);
        let purged = json(&response);
        assert_eq!((purged["scope"].as_str(), purged["name"].as_str()), (Some(scope), name));
        assert_eq!(purged["epoch_ms"], NOW_MS);
        assert_eq!(purged["holds_everywhere_from_ms"], NOW_MS + HOLDS_EVERYWHERE_AFTER_MS);
        assert!(!is_hit(&deployment), "{scope}");
    }
    let unclear = deployment.send(post(PURGE, br#"{"scope": "some"}"#));
    assert_eq!(problem(&unclear).code, ProblemCode::InvalidFields);

    deployment.captions.write_health.set(StoreHealth::Failing);
    let unwritten = problem(&deployment.send(post(PURGE, br#"{"scope": "all"}"#)));
    assert_eq!((unwritten.status, unwritten.retry_after_s), (500, Some(1)));
    assert!(deployment.log.has("purge_failed"));
}

#[test]
fn an_ordinary_key_may_not_purge() {
    let deployment = Deployment::new();
    let refused = deployment.send(post(PURGE, br#"{"scope": "all"}"#));
    assert_eq!(problem(&refused).code, ProblemCode::Forbidden);
    assert_eq!(deployment.captions.writes.get(), 0);
    assert_eq!(problem(&deployment.send(request(Method::Get, PURGE))).code, ProblemCode::MethodNotAllowed);
}

#[test]
fn a_purge_that_cannot_be_written_does_not_hold_and_says_so() {
    for health in [StoreHealth::Failing, StoreHealth::Hanging] {
        let deployment = Deployment::new();
        is_hit(&deployment);
        deployment.captions.write_health.set(health);
        assert!(purge(&deployment, &PurgeScope::All).is_err());
        assert!(is_hit(&deployment));
    }
}
