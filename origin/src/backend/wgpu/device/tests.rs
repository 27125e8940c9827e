use super::*;

const WAIT: Duration = Duration::from_secs(60);

fn opened(without: Without) -> Device {
    let settings = DeviceSettings { adapter: None, without };
    Device::open(&settings).expect("no adapter: `cargo xtask test` provides a software one")
}

#[test]
fn what_is_written_can_be_fetched() {
    let device = opened(Without::default());
    let buffer = device.storage_of("numbers", &[1.0f32, 2.0, 3.0]).expect("there is room");
    device.write(&buffer, 4, &[7.0f32]);
    let mut numbers = [0.0f32; 3];
    device.fetch(&buffer, &mut numbers, WAIT).expect("the device gives it");
    assert_eq!(numbers, [1.0, 7.0, 3.0]);
    device.fetch::<f32>(&buffer, &mut [], WAIT).expect("nothing can be fetched too");
}

#[test]
fn buffers_are_counted_while_they_live() {
    let device = opened(Without::default());
    assert_eq!(device.bytes_in_use(), 0);
    let kept = device.storage("kept", 1 << 20).expect("there is room");
    let dropped = device.staging("dropped", 1000).expect("there is room");
    assert_eq!(device.bytes_in_use(), kept.bytes() + dropped.bytes());
    drop(dropped);
    assert_eq!(device.bytes_in_use(), 1 << 20);
}

#[test]
fn a_device_does_without_what_it_is_told_to() {
    let without = Without { shader_f16: true, subgroups: true };
    let device = opened(without);
    assert!(!device.capabilities().shader_f16);
    assert_eq!(device.capabilities().subgroup_size, None);
    assert_eq!(device.raw().features(), Features::empty());
}

#[test]
fn an_adapter_that_is_not_there_is_refused() {
    let settings = DeviceSettings { adapter: Some("no such adapter".to_owned()), without: Without::default() };
    assert_eq!(Device::open(&settings).expect_err("there is none").kind(), FailureKind::Refused);
}

#[test]
fn an_adapter_is_found_by_a_part_of_its_name() {
    let name = opened(Without::default()).capabilities().name.to_uppercase();
    let part = name.split_whitespace().next().map(str::to_owned);
    let found = Device::open(&DeviceSettings { adapter: part, without: Without::default() });
    assert_eq!(found.expect("it is there").capabilities().name.to_uppercase(), name);
}

#[test]
fn a_buffer_larger_than_any_is_refused_and_the_device_is_well() {
    let device = opened(Without::default());
    let bytes = device.capabilities().buffer_bytes_max + 4;
    assert_eq!(device.storage("too large", bytes).err().expect("too large").kind(), FailureKind::Refused);
    device.check().expect("the device is well");
}

#[test]
fn what_the_device_finds_invalid_is_an_error_of_whoever_asked_for_it() {
    let device = opened(Without::default());
    let invalid = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl("fn".into()) };
    let error =
        device.scoped("compiling", |device| device.create_shader_module(invalid)).expect_err("it is no WGSL");
    assert_eq!(error.kind(), FailureKind::Failed);
    device.check().expect("the device is well");
}

#[test]
fn what_nobody_waited_for_fails_the_next_submission() {
    let device = opened(Without::default());
    let staging = device.staging("staging", 16).expect("there is room");
    let mut encoder = device.encoder();
    encoder.copy_buffer_to_buffer(staging.raw(), 0, staging.raw(), 8, 8);
    drop(encoder.finish());
    assert_eq!(device.submit(device.encoder()).expect_err("it was reported").kind(), FailureKind::Failed);
}

#[test]
fn a_lost_device_says_so_from_then_on() {
    let device = opened(Without::default());
    let buffer = device.storage("buffer", 64).expect("there is room");
    device.lose();
    for _ in 0..2 {
        assert_eq!(device.submit(device.encoder()).expect_err("it is lost").kind(), FailureKind::Lost);
        assert_eq!(device.wait(WAIT).expect_err("it is lost").kind(), FailureKind::Lost);
    }
    let fetched = device.fetch(&buffer, &mut [0.0f32; 4], WAIT);
    assert!(fetched.is_err());
}

#[test]
fn a_real_gpu_is_preferred() {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let mut kinds = [Cpu, Other, IntegratedGpu, VirtualGpu, DiscreteGpu];
    kinds.sort_by_key(|kind| preference(*kind));
    assert_eq!(kinds, [DiscreteGpu, VirtualGpu, IntegratedGpu, Other, Cpu]);
}
