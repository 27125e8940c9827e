//! Faults of the Vulkan driver, beneath wgpu.

use lede_tests::FaultyDevice;

use super::{COMPANY, SOON, Served, WATCHFUL, answered, assert_outlives_a_hang, assert_right, company};

const BUSY: &str = "wait slow:20 always";

/// However it is lost: it is opened again, and who was on it is answered as if nothing had been.
async fn assert_survives(orders: &[&str]) {
    let mut served = Served::start(FaultyDevice::vulkan(), &WATCHFUL).await;
    let bodies = company();
    let right = served.answers(&bodies).await;
    for order in orders {
        let before = served.condition().await["restarts"].as_u64();
        let ended = served.struck_by(order, BUSY, &bodies).await;
        assert_right(&ended, &right, order);
        assert_eq!(answered(&ended), COMPANY, "{order}: {ended:?}");
        served.until_ready(true, SOON).await;
        let after = served.condition().await;
        assert_eq!(after["restarts"].as_u64(), before.map(|count| count + 1), "{order}: {after}");
        assert_eq!(served.answers(&bodies).await, right, "after {order}");
        served.assert_lives();
    }
}

#[tokio::test]
async fn a_vulkan_device_that_is_lost_at_work_is_opened_again_and_nobody_on_it_is_left_without_an_answer() {
    assert_survives(&["submit lost 1", "wait lost 1"]).await;
}

/// wgpu gives a device up after these as well.
#[tokio::test]
async fn a_vulkan_device_that_runs_out_of_memory_or_fails_in_some_other_way_at_work_is_opened_again() {
    assert_survives(&["submit out_of_memory 1", "wait fail 1"]).await;
}

#[tokio::test]
async fn a_vulkan_driver_that_hangs_is_left_behind_and_another_device_is_opened_in_the_same_process() {
    assert_outlives_a_hang(FaultyDevice::vulkan(), BUSY, "wait hang 1").await;
}
