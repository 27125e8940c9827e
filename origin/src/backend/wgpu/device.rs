//! An adapter opened for computing: its buffers and what they weigh, its submissions, and what went wrong with them.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use wgpu::{BufferUsages, Features};

use crate::backend::{BackendError, DeviceKind, FailureKind};

/// Most invocations in a workgroup that a kernel asks for: every adapter of note has as many.
pub const INVOCATIONS_MAX: u32 = 256;
/// Most workgroups in one dimension of a dispatch, which WebGPU promises everywhere.
pub const WORKGROUPS_MAX: u32 = 65_535;

/// Which adapter to open, and what to leave unused of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    /// Part of the adapter's name, in any case; `None` prefers a discrete GPU, then an integrated one, then software.
    pub adapter: Option<String>,
    /// Features to do without though the adapter has them, so that what falls back is tested where nothing is missing.
    pub without: Without,
}

/// Features that a device is to be opened without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// No 16-bit floats in shaders.
    pub shader_f16: bool,
    /// No subgroup operations.
    pub subgroups: bool,
}

/// What an opened device has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The adapter's name.
    pub name: String,
    /// What drives it, and through which interface.
    pub driver: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Whether shaders may name `f16`.
    pub shader_f16: bool,
    /// Invocations in a subgroup, where shaders may use them and all subgroups are of one size.
    pub subgroup_size: Option<u32>,
    /// Whether the adapter has matrix units that WGSL can name. They are not used: they add in an order of their own, and
    /// asking for them takes an unsafe promise about an experimental interface.
    pub cooperative_matrix: bool,
    /// Whether a processor plays the adapter.
    pub software: bool,
    /// Largest part of a buffer that a kernel can be given, in bytes.
    pub binding_bytes_max: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes_max: u64,
}

/// A device, its queue and a meter of the memory that its buffers take.
#[derive(Clone)]
pub struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    capabilities: Arc<Capabilities>,
    bytes_in_use: Arc<AtomicU64>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// Memory on a device, counted until it is dropped.
pub struct DeviceBuffer {
    buffer: wgpu::Buffer,
    bytes_in_use: Arc<AtomicU64>,
}

/// What the device reported on its own, outside of any scope.
#[derive(Clone, Debug)]
struct Fault {
    kind: FailureKind,
    cause: String,
}

impl Device {
    /// Opens the adapter that the settings name.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] when there is no such adapter; [`FailureKind::Failed`] when it does not open.
    pub fn open(settings: &DeviceSettings) -> Result<Self, BackendError> {
        let adapter = choose(&settings.adapter)?;
        let (features, limits) = (wanted_features(&adapter, settings.without), wanted_limits(&adapter));
        let descriptor =
            wgpu::DeviceDescriptor { required_features: features, required_limits: limits, ..Default::default() };
        let (device, queue) = now(adapter.request_device(&descriptor))
            .and_then(|opened| opened.map_err(|error| BackendError::new("opening the adapter", error)))?;
        let fault = Arc::new(Mutex::new(None));
        listen(&device, &fault);
        let capabilities = Arc::new(capabilities(&adapter, &device));
        Ok(Self { device, queue, capabilities, bytes_in_use: Arc::default(), fault })
    }

    /// What was opened.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes in all buffers that live.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        self.bytes_in_use.load(Ordering::Relaxed)
    }

    /// The device as wgpu knows it.
    #[must_use]
    pub fn raw(&self) -> &wgpu::Device {
        &self.device
    }

    /// A storage buffer of zeros that kernels read and write and that can be copied from and to. A multiple of 4 bytes.
    ///
    /// # Errors
    /// [`FailureKind::OutOfMemory`] when there is no room; [`FailureKind::Refused`] above
    /// [`Capabilities::buffer_bytes_max`].
    pub fn storage(&self, label: &'static str, bytes: u64) -> Result<DeviceBuffer, BackendError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        self.buffer(label, bytes, usage)
    }

    /// A storage buffer with these contents.
    ///
    /// # Errors
    /// As [`Self::storage`].
    pub fn storage_of<T: bytemuck::NoUninit>(
        &self,
        label: &'static str,
        contents: &[T],
    ) -> Result<DeviceBuffer, BackendError> {
        let bytes: &[u8] = bytemuck::cast_slice(contents);
        let buffer = self.storage(label, bytes.len() as u64)?;
        self.write(&buffer, 0, contents);
        Ok(buffer)
    }

    /// A small buffer of numbers that all invocations read.
    ///
    /// # Errors
    /// As [`Self::storage`].
    pub fn uniform<T: bytemuck::NoUninit>(
        &self,
        label: &'static str,
        contents: &[T],
    ) -> Result<DeviceBuffer, BackendError> {
        let bytes = size_of_val(contents) as u64;
        let buffer = self.buffer(label, bytes, BufferUsages::UNIFORM | BufferUsages::COPY_DST)?;
        self.write(&buffer, 0, contents);
        Ok(buffer)
    }

    /// A buffer that the host maps to read what was copied into it.
    ///
    /// # Errors
    /// As [`Self::storage`].
    pub fn staging(&self, label: &'static str, bytes: u64) -> Result<DeviceBuffer, BackendError> {
        self.buffer(label, bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)
    }

    fn buffer(&self, label: &'static str, bytes: u64, usage: BufferUsages) -> Result<DeviceBuffer, BackendError> {
        let bytes_max = self.capabilities.buffer_bytes_max;
        if bytes > bytes_max {
            let cause = format!("{label}: {bytes} bytes, of at most {bytes_max}");
            return Err(BackendError::of_kind(FailureKind::Refused, "making a buffer", cause));
        }
        let size = bytes.next_multiple_of(4).max(16);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.scoped("making a buffer", |device| device.create_buffer(&descriptor))?;
        self.bytes_in_use.fetch_add(size, Ordering::Relaxed);
        Ok(DeviceBuffer { buffer, bytes_in_use: Arc::clone(&self.bytes_in_use) })
    }

    /// Copies from the host before the next submission. Offset and length are multiples of 4 bytes.
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &DeviceBuffer, offset_bytes: u64, contents: &[T]) {
        self.queue.write_buffer(&buffer.buffer, offset_bytes, bytemuck::cast_slice(contents));
    }

    /// Begins recording.
    #[must_use]
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Sends what was recorded. The device may not be done with it when this returns.
    ///
    /// # Errors
    /// When the device refuses it, or has been lost.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex, BackendError> {
        self.check()?;
        let submitted = self.scoped("submitting a step", |_| self.queue.submit([encoder.finish()]));
        // A device that is lost at this moment says so outside of any scope, whatever it says inside: nothing at all, or
        // that there is no memory.
        self.check()?;
        submitted
    }

    /// Waits until the device is done with all that was submitted, but no longer than `timeout`.
    ///
    /// # Errors
    /// [`FailureKind::Lost`] when the device has gone, [`FailureKind::Failed`] when it takes too long.
    pub fn wait(&self, timeout: Duration) -> Result<(), BackendError> {
        self.check()?;
        let poll = || self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(timeout) });
        // wgpu panics when the device is lost while it is waited for, last of all: what it holds is in order. Were the thread to
        // unwind, all of that would be dropped on the way, and one more panic there would end the process.
        let waited = catch_unwind(AssertUnwindSafe(poll));
        self.check()?;
        let failed = |kind, cause: &dyn fmt::Display| {
            BackendError::of_kind(kind, "waiting for the device", cause.to_string())
        };
        match waited {
            Ok(waited) => waited.map(drop).map_err(|error| failed(FailureKind::Failed, &error)),
            Err(_) => Err(failed(FailureKind::Lost, &"wgpu has panicked")),
        }
    }

    /// The first `bytes` of a staging buffer, once all that was submitted is done.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        staging: &DeviceBuffer,
        contents: &mut [T],
        timeout: Duration,
    ) -> Result<(), BackendError> {
        let bytes = size_of_val(contents) as u64;
        if bytes == 0 {
            return self.wait(timeout);
        }
        let failed = |cause: &dyn fmt::Display| BackendError::new("reading from the device", cause.to_string());
        let (sender, mapped) = mpsc::sync_channel(1);
        staging.buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| drop(sender.send(result)));
        let waited = self.wait(timeout);
        if waited.is_err() {
            staging.buffer.unmap();
        }
        waited?;
        // Another thread that waits may be the one that is told.
        let mapped = mapped.recv_timeout(timeout).map_err(|error| failed(&error))?;
        mapped.map_err(|error| failed(&error))?;
        let view = staging.buffer.get_mapped_range(..bytes).map_err(|error| failed(&error))?;
        bytemuck::cast_slice_mut::<T, u8>(contents).copy_from_slice(&view);
        drop(view);
        staging.buffer.unmap();
        Ok(())
    }

    /// Copies a whole buffer to the host. It waits: for tests and for loading.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn fetch<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        buffer: &DeviceBuffer,
        contents: &mut [T],
        timeout: Duration,
    ) -> Result<(), BackendError> {
        let bytes = size_of_val(contents) as u64;
        let staging = self.staging("fetched", bytes)?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(&buffer.buffer, 0, &staging.buffer, 0, bytes);
        self.submit(encoder)?;
        self.read(&staging, contents, timeout)
    }

    /// Does something with the device and turns what it reports of it into an error.
    ///
    /// # Errors
    /// [`FailureKind::OutOfMemory`], or [`FailureKind::Failed`] for what the device finds invalid.
    pub fn scoped<T>(
        &self,
        context: &'static str,
        attempt: impl FnOnce(&wgpu::Device) -> T,
    ) -> Result<T, BackendError> {
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let done = attempt(&self.device);
        let (memory, internal, validation) = (now(memory.pop())?, now(internal.pop())?, now(validation.pop())?);
        match memory.or(internal).or(validation) {
            None => Ok(done),
            Some(error) => {
                let fault = Fault::of(&error);
                Err(BackendError::of_kind(fault.kind, context, fault.cause))
            }
        }
    }

    /// Fails once the device has been lost, or has reported an error that nobody waited for.
    ///
    /// # Errors
    /// What was reported.
    pub fn check(&self) -> Result<(), BackendError> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.as_ref().map_or(Ok(()), |fault| {
            Err(BackendError::of_kind(fault.kind, "the device reported on its own", &fault.cause))
        })
    }

    /// Gives the device up, as when its driver resets it: everything fails with [`FailureKind::Lost`] from here on.
    pub fn lose(&self) {
        self.device.destroy();
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        *fault = Some(Fault { kind: FailureKind::Lost, cause: "given up".to_owned() });
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Device").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

impl DeviceBuffer {
    /// What it takes on the device.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.buffer.size()
    }

    /// The buffer as wgpu knows it.
    #[must_use]
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        self.bytes_in_use.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

impl Fault {
    fn of(error: &wgpu::Error) -> Self {
        let kind = match error {
            wgpu::Error::OutOfMemory { .. } => FailureKind::OutOfMemory,
            wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. } => FailureKind::Failed,
        };
        Self { kind, cause: error.to_string() }
    }
}

/// The first fault is kept: those that follow are mostly its consequences. Only the loss of the device outweighs it.
fn listen(device: &wgpu::Device, fault: &Arc<Mutex<Option<Fault>>>) {
    let (first, lost) = (Arc::clone(fault), Arc::clone(fault));
    device.on_uncaptured_error(Arc::new(move |error| {
        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Fault::of(&error));
    }));
    device.set_device_lost_callback(move |reason, message| {
        let cause = format!("{reason:?}: {message}");
        *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Fault { kind: FailureKind::Lost, cause });
    });
}

fn choose(name: &Option<String>) -> Result<wgpu::Adapter, BackendError> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut adapters = now(instance.enumerate_adapters(backends))?;
    adapters.sort_by_key(|adapter| preference(adapter.get_info().device_type));
    let named = |adapter: &wgpu::Adapter| match name {
        Some(name) => adapter.get_info().name.to_lowercase().contains(&name.to_lowercase()),
        None => true,
    };
    let missing = || {
        let cause =
            name.as_ref().map_or_else(|| "there is none".to_owned(), |name| format!("none is named {name}"));
        BackendError::of_kind(FailureKind::Refused, "looking for an adapter", cause)
    };
    adapters.into_iter().find(named).ok_or_else(missing)
}

/// The name of the adapter that [`Device::open`] would open.
///
/// # Errors
/// As [`Device::open`], when there is none.
pub fn adapter(name: Option<&str>) -> Result<String, BackendError> {
    Ok(choose(&name.map(str::to_owned))?.get_info().name)
}

/// The name of the GPU that [`Device::open`] would open, where it would open one at all.
#[must_use]
pub fn gpu(name: Option<&str>) -> Option<String> {
    if !may_have_gpu() {
        return None;
    }
    let info = choose(&name.map(str::to_owned)).ok()?.get_info();
    (info.device_type != wgpu::DeviceType::Cpu).then_some(info.name)
}

/// Looking for adapters loads every driver of the machine, software ones of a hundred megabytes among them. On Linux a GPU
/// shows without that.
fn may_have_gpu() -> bool {
    const NODES: [&str; 4] = ["/dev/dri", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg"];
    !cfg!(target_os = "linux") || NODES.iter().any(|node| std::path::Path::new(node).exists())
}

const fn preference(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::VirtualGpu => 1,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

const fn kind_of(kind: wgpu::DeviceType) -> DeviceKind {
    match kind {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu,
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu,
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
        wgpu::DeviceType::Other => DeviceKind::Other,
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
    }
}

fn wanted_features(adapter: &wgpu::Adapter, without: Without) -> Features {
    let mut wanted = Features::SHADER_F16 | Features::SUBGROUP;
    wanted.set(Features::SHADER_F16, !without.shader_f16);
    wanted.set(Features::SUBGROUP, !without.subgroups);
    wanted & adapter.features()
}

/// What WebGPU promises everywhere, with the adapter's own sizes of buffers.
fn wanted_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let has = adapter.limits();
    wgpu::Limits {
        max_buffer_size: has.max_buffer_size,
        max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
        ..wgpu::Limits::default()
    }
    .or_worse_values_from(&has)
}

fn capabilities(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Capabilities {
    let (info, features, limits) = (adapter.get_info(), device.features(), device.limits());
    let same_size = info.subgroup_min_size == info.subgroup_max_size;
    Capabilities {
        driver: format!("{:?}, {} {}", info.backend, info.driver, info.driver_info).trim_end().to_owned(),
        kind: kind_of(info.device_type),
        name: info.name,
        shader_f16: features.contains(Features::SHADER_F16),
        subgroup_size: (features.contains(Features::SUBGROUP) && same_size).then_some(info.subgroup_max_size),
        cooperative_matrix: adapter.features().contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        software: info.device_type == wgpu::DeviceType::Cpu,
        binding_bytes_max: limits.max_storage_buffer_binding_size,
        buffer_bytes_max: limits.max_buffer_size,
    }
}

/// What a future gives that is ready already, as all of wgpu's are outside of a browser.
fn now<T>(future: impl Future<Output = T>) -> Result<T, BackendError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(BackendError::new("asking the device", "it did not answer at once")),
    }
}

#[cfg(test)]
mod tests;
