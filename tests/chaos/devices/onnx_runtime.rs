//! Faults of ONNX Runtime, or of the device beneath it.

use std::time::Instant;

use lede_tests::FaultyDevice;

use super::{
    COMPANY, NOT_READY_WITHIN, SOON, Served, WATCHFUL, answered, assert_outlives_a_hang, assert_right, company,
};

/// Long enough that all of a company are at it together.
const BUSY: &str = "run slow:40 always";

#[tokio::test]
async fn onnx_runtime_that_fails_is_opened_again_and_who_was_on_it_is_answered_as_if_nothing_had_been() {
    let mut served = Served::start(FaultyDevice::onnx_runtime(), &WATCHFUL).await;
    let bodies = company();
    let right = served.answers(&bodies).await;
    // What strikes, and how often the engine is opened again for it.
    for (order, reopened) in [("run fail 1", 0), ("run out_of_memory 1", 0), ("run lost 1", 1)] {
        let (before, retried) = (served.condition().await, served.count("sequences_retried").await);
        let ended = served.struck_by(order, BUSY, &bodies).await;
        assert_right(&ended, &right, order);
        served.until_ready(true, SOON).await;
        let (after, restarts) =
            (served.condition().await, |condition: &serde_json::Value| condition["restarts"].as_u64());
        assert_eq!(restarts(&after), restarts(&before).map(|count| count + reopened), "{order}: {after}");
        assert_eq!(answered(&ended), COMPANY, "{order}: {ended:?}");
        // Who ran out of memory has only waited until others were through.
        let is_begun_anew = served.count("sequences_retried").await > retried;
        assert_eq!(is_begun_anew, order != "run out_of_memory 1", "{order}");
        assert_eq!(served.answers(&bodies).await, right, "after {order}");
        served.assert_lives();
    }
}

#[tokio::test]
async fn onnx_runtime_that_hangs_is_left_behind_and_another_session_takes_over() {
    assert_outlives_a_hang(FaultyDevice::onnx_runtime(), BUSY, "run hang 1").await;
}

#[tokio::test]
async fn with_the_usual_settings_a_device_that_hangs_is_not_ready_within_five_seconds_and_ready_once_it_goes_on() {
    let mut served = Served::start(FaultyDevice::onnx_runtime(), &[]).await;
    let right = served.answers(&company()).await;
    let watched = async {
        while served.device.struck() == 0 || served.origin.is_ready().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Instant::now()
    };
    let bodies = company();
    let hanging = async {
        let began = Instant::now();
        served.device.order("run hang 1");
        let not_ready_at = watched.await;
        assert!(not_ready_at - began < NOT_READY_WITHIN, "{:?}", not_ready_at - began);
        served.device.recover();
        served.until_ready(true, SOON).await;
    };
    let (ended, ()) = tokio::join!(served.ask_all(&bodies), hanging);
    assert_right(&ended, &right, "hang");
    assert_eq!(answered(&ended), COMPANY, "they have only waited: {ended:?}");
    assert_eq!(served.condition().await["failures"], 0);
    served.assert_lives();
}
