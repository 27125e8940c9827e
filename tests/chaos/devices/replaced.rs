//! Devices that are gone for good, and who takes their place.

use std::time::{Duration, Instant};

use lede_tests::{ALWAYS, FaultyDevice, Provider, Reply};
use serde_json::{Value, json};

use super::{Ended, SOON, Served, WATCHFUL, about, assert_right, company};

const CAPTION: &str = "Slow light over the quiet harbour.";

/// Asks for one after the other until `condition.backend` is `name`, and says how they ended.
async fn asked_until_on(served: &Served, name: &str) -> Vec<Ended> {
    let (until, mut ended) = (Instant::now() + SOON, Vec::new());
    while served.condition().await["backend"] != name || !served.origin.is_ready().await {
        assert!(Instant::now() < until, "{name} does not take over\n{}", served.origin.log());
        ended.push(served.ask(&about(0)).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ended
}

#[tokio::test]
async fn onnx_runtime_takes_the_place_of_a_vulkan_device_that_is_lost_for_good_until_that_works_again() {
    let onnx_runtime = FaultyDevice::onnx_runtime();
    let more = [("LEDE_BACKEND", "wgpu"), ("LEDE_BACKEND_FALLBACK", "ort"), ("LEDE_BACKEND_RETURN_MS", "2000")];
    let vulkan = FaultyDevice::vulkan();
    let settings = onnx_runtime.settings(&[&WATCHFUL[..], &more].concat());
    let mut served = Served::start(vulkan, &settings).await;
    let bodies = company();
    let right = served.answers(&bodies).await;
    assert_eq!(served.condition().await["backend"], "wgpu");
    served.device.order(&format!("submit lost {ALWAYS}"));
    let meanwhile = asked_until_on(&served, "ort").await;
    assert_right(&meanwhile, &vec![right[0].clone(); meanwhile.len()], "while it is replaced");
    let condition = served.condition().await;
    assert_eq!(condition["backends"], json!(["wgpu", "ort"]));
    assert_eq!(condition["description"]["backend"], "onnxruntime", "{condition}");
    // Greedy, so both engines choose the same.
    assert_eq!(served.answers(&bodies).await, right, "on the other engine");
    served.device.recover();
    let meanwhile = asked_until_on(&served, "wgpu").await;
    assert_right(&meanwhile, &vec![right[0].clone(); meanwhile.len()], "on the way back");
    assert_eq!(served.answers(&bodies).await, right, "on the first engine again");
    served.assert_lives();
}

#[tokio::test]
async fn a_vulkan_device_without_memory_for_the_model_is_passed_over_and_comes_into_use_once_there_is_some() {
    let vulkan = FaultyDevice::vulkan();
    vulkan.order(&format!("allocate out_of_memory {ALWAYS}"));
    let more = [("LEDE_BACKEND_FALLBACK", "ort"), ("LEDE_BACKEND_RETURN_MS", "2000")];
    let mut served = Served::start(vulkan, &[&WATCHFUL[..], &more].concat()).await;
    let condition = served.condition().await;
    assert_eq!((&condition["backend"], &condition["failures"]), (&json!("ort"), &json!(1)), "{condition}");
    assert!(condition["last_failure"].to_string().contains("memory"), "{condition}");
    let right = served.answers(&company()).await;
    served.device.recover();
    let meanwhile = asked_until_on(&served, "wgpu").await;
    assert_right(&meanwhile, &vec![right[0].clone(); meanwhile.len()], "on the way to the first");
    assert_eq!(served.answers(&company()).await, right);
    served.assert_lives();
}

#[tokio::test]
async fn a_provider_answers_for_an_engine_that_is_gone_for_good_and_the_process_stays() {
    let provider = Provider::start(vec![], Reply::captions(&[(CAPTION, &["harbour", "light"])])).await;
    let remote = [
        ("LEDE_REMOTE_URL", provider.url.as_str()),
        ("LEDE_REMOTE_MODEL", "writer-1"),
        ("LEDE_REMOTE_MODE", "fallback"),
    ];
    let mut served = Served::start(FaultyDevice::onnx_runtime(), &[&WATCHFUL[..], &remote].concat()).await;
    // The provider is there before the model is.
    while served.condition().await["backend"] != "ort" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let right = served.answers(&company()).await;
    served.device.order(&format!("run lost {ALWAYS}"));
    let until = Instant::now() + SOON;
    // Opened again three times, and then no more for a minute.
    while served.condition().await["failures"] != 4 {
        assert!(Instant::now() < until, "it is never given up\n{}", served.origin.log());
        // Nobody is left without a caption: the model's own or the provider's.
        for (ended, own) in served.ask_all(&company()).await.iter().zip(&right) {
            let Ended::Answer(answer) = ended else { panic!("{ended:?}\n{}", served.origin.log()) };
            assert!(answer == own || is_the_providers(answer), "{answer}");
        }
    }
    assert!(served.origin.is_ready().await, "who can answer is ready");
    let Ended::Answer(answer) = served.ask(&about(99)).await else { panic!("{}", served.origin.log()) };
    assert!(is_the_providers(&answer), "{answer}");
    assert_eq!(
        served.told("/performance/ai").await["state"],
        "failed",
        "an operator is told of the engine itself"
    );
    served.assert_lives();
}

fn is_the_providers(variants: &Value) -> bool {
    variants[0]["caption"] == CAPTION
}
