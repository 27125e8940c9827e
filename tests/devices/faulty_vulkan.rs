//! A Vulkan driver that fails when it is told to: the real one with some of a device's calls replaced.
//!
//! It speaks the interface by which the loader finds drivers (`LoaderDriverInterface.md` of the Vulkan loader), loads the driver that
//! `FAULTY_VULKAN_DRIVER` names, and looks for orders in the file `FAULTY_VULKAN_ORDERS`. The calls are `submit` (of work), `wait` (for
//! it) and `allocate` (memory). A device that was lost stays lost, as the specification has it: another has to be created.

mod orders;

use std::collections::BTreeSet;
use std::env;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use ash::vk::{self, Handle, Result as VkResult};
use libloading::Library;

use crate::orders::{Fault, Orders};

/// `vkGetInstanceProcAddr`, and its sister for what takes a physical device: the loader's interface has both in this shape.
type Look = vk::PFN_vkGetInstanceProcAddr;
type Function = vk::PFN_vkVoidFunction;
type Negotiate = unsafe extern "system" fn(*mut u32) -> VkResult;

/// The real driver's entries, and what is to be done in its place.
struct Driver {
    negotiate: Negotiate,
    look: Look,
    look_physical: Option<Look>,
    orders: Orders,
    /// Devices that were lost, see [`device_of`].
    lost: Mutex<BTreeSet<usize>>,
    /// The entries point into it.
    _library: Library,
}

static DRIVER: OnceLock<Option<Driver>> = OnceLock::new();
static LOOK_DEVICE: OnceLock<vk::PFN_vkGetDeviceProcAddr> = OnceLock::new();
static SUBMIT: OnceLock<vk::PFN_vkQueueSubmit> = OnceLock::new();
static WAIT_SEMAPHORES: OnceLock<vk::PFN_vkWaitSemaphores> = OnceLock::new();
static WAIT_FENCES: OnceLock<vk::PFN_vkWaitForFences> = OnceLock::new();
static ALLOCATE: OnceLock<vk::PFN_vkAllocateMemory> = OnceLock::new();
static FIND_QUEUE: OnceLock<vk::PFN_vkGetDeviceQueue> = OnceLock::new();

/// None where there is no driver.
fn driver() -> Option<&'static Driver> {
    DRIVER.get_or_init(load).as_ref()
}

#[expect(unsafe_code, reason = "a library is loaded, and its interface consists of pointers")]
fn load() -> Option<Driver> {
    // SAFETY: the caller of the test says that this is a driver, whose initialisers may run in any process that the loader may load
    // it into. The entries have these signatures in every version of the loader's interface, and live as long as the library,
    // which is never unloaded: `Driver` keeps it, and is itself kept in a static.
    unsafe {
        let library = Library::new(env::var_os("FAULTY_VULKAN_DRIVER")?).ok()?;
        let negotiate = *library.get::<Negotiate>(b"vk_icdNegotiateLoaderICDInterfaceVersion").ok()?;
        let look = *library.get::<Look>(b"vk_icdGetInstanceProcAddr").ok()?;
        let look_physical = library.get::<Look>(b"vk_icdGetPhysicalDeviceProcAddr").ok().map(|entry| *entry);
        let orders = Orders::named_by("FAULTY_VULKAN_ORDERS");
        Some(Driver { negotiate, look, look_physical, orders, lost: Mutex::default(), _library: library })
    }
}

/// Which version of the loader's interface is spoken: whichever the real driver speaks, since nothing that is replaced is part of it.
///
/// # Safety
/// As the loader's interface has it.
#[expect(unsafe_code, reason = "the name by which the loader finds it")]
// SAFETY: nothing is linked against this name: the loader looks it up in each driver's library.
#[unsafe(export_name = "vk_icdNegotiateLoaderICDInterfaceVersion")]
pub unsafe extern "system" fn negotiate(version: *mut u32) -> VkResult {
    // SAFETY: the argument is the loader's, which keeps to the contract of this very function.
    driver().map_or(VkResult::ERROR_INCOMPATIBLE_DRIVER, |driver| unsafe { (driver.negotiate)(version) })
}

/// Where the loader finds functions.
///
/// # Safety
/// As `vkGetInstanceProcAddr`.
#[expect(unsafe_code, reason = "the name by which the loader finds it")]
// SAFETY: as above.
#[unsafe(export_name = "vk_icdGetInstanceProcAddr")]
pub unsafe extern "system" fn look(instance: vk::Instance, name: *const c_char) -> Function {
    // SAFETY: the arguments are the loader's, which keeps to the contract of this very function; a name ends with a zero.
    let (real, name) = unsafe { ((driver()?.look)(instance, name), CStr::from_ptr(name)) };
    if name == c"vkGetDeviceProcAddr" {
        in_place_of(real, &LOOK_DEVICE, look_device as *const c_void)
    } else {
        real
    }
}

/// Where the loader finds functions that take a physical device, as the real driver has them.
///
/// # Safety
/// As `vkGetInstanceProcAddr`.
#[expect(unsafe_code, reason = "the name by which the loader finds it")]
// SAFETY: as above.
#[unsafe(export_name = "vk_icdGetPhysicalDeviceProcAddr")]
pub unsafe extern "system" fn look_physical(instance: vk::Instance, name: *const c_char) -> Function {
    // SAFETY: the arguments are the loader's, which keeps to the contract of this very function.
    unsafe { (driver()?.look_physical?)(instance, name) }
}

/// Where the loader, and wgpu through it, finds a device's functions.
#[expect(unsafe_code, reason = "passed on to a pointer of the real driver")]
unsafe extern "system" fn look_device(device: vk::Device, name: *const c_char) -> Function {
    // SAFETY: the arguments are those of the caller, who keeps to the contract of this very function; a name ends with a zero.
    let (real, name) = unsafe { ((LOOK_DEVICE.get()?)(device, name), CStr::from_ptr(name)) };
    match name.to_bytes() {
        b"vkQueueSubmit" => in_place_of(real, &SUBMIT, submit as *const c_void),
        b"vkWaitSemaphores" | b"vkWaitSemaphoresKHR" => {
            in_place_of(real, &WAIT_SEMAPHORES, wait_semaphores as *const c_void)
        }
        b"vkWaitForFences" => in_place_of(real, &WAIT_FENCES, wait_fences as *const c_void),
        b"vkAllocateMemory" => in_place_of(real, &ALLOCATE, allocate as *const c_void),
        b"vkGetDeviceQueue" => in_place_of(real, &FIND_QUEUE, find_queue as *const c_void),
        _ => real,
    }
}

/// Keeps the real function, whose type is `F`, and gives ours in its place; none where the driver has none.
#[expect(unsafe_code, reason = "the loader passes functions of every type as one and the same")]
fn in_place_of<F: Copy>(real: Function, kept: &OnceLock<F>, ours: *const c_void) -> Function {
    let real = real?;
    // SAFETY: `F` is the type of the function that was asked for by name, and a pointer to a function like the one that is given;
    // so is `ours`, which is never null.
    unsafe {
        kept.get_or_init(|| std::mem::transmute_copy(&real));
        std::mem::transmute(ours)
    }
}

/// What tells one device, and all that belongs to it, from another: the first word of a handle that functions go by is the
/// loader's own, the table of its device.
#[expect(unsafe_code, reason = "a look behind a handle")]
fn device_of(handle: impl Handle) -> usize {
    // SAFETY: the loader's interface has drivers begin such an object with this word, and the loader has set it before anybody
    // has the handle. The handle comes from a caller, to whom it is valid.
    unsafe { *(handle.as_raw() as *const usize) }
}

/// What a call on a device says instead of doing what it is for.
fn instead(call: &str, device: usize) -> Option<VkResult> {
    let driver = driver()?;
    let lost = || driver.lost.lock().unwrap_or_else(PoisonError::into_inner);
    if call != "allocate" && lost().contains(&device) {
        return Some(VkResult::ERROR_DEVICE_LOST);
    }
    Some(match driver.orders.obeyed(call)? {
        Fault::Failed => VkResult::ERROR_UNKNOWN,
        Fault::OutOfMemory => VkResult::ERROR_OUT_OF_DEVICE_MEMORY,
        Fault::Lost => {
            lost().insert(device);
            VkResult::ERROR_DEVICE_LOST
        }
    })
}

/// Defines what stands in for a function of a device.
macro_rules! stand_in {
    ($name:ident for $real:ident, $call:literal on $on:ident: $handle:ty, ($($argument:ident: $type:ty),* $(,)?)) => {
        #[expect(unsafe_code, reason = "passed on to a pointer of the real driver")]
        unsafe extern "system" fn $name($on: $handle, $($argument: $type),*) -> VkResult {
            let real = $real.get();
            match instead($call, device_of($on)) {
                Some(result) => result,
                // SAFETY: the arguments are those of the caller, who keeps to the contract of this very function.
                None => real.map_or(VkResult::ERROR_UNKNOWN, |real| unsafe { real($on, $($argument),*) }),
            }
        }
    };
}

stand_in!(submit for SUBMIT, "submit" on queue: vk::Queue, (
    count: u32,
    work: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
));
stand_in!(wait_semaphores for WAIT_SEMAPHORES, "wait" on device: vk::Device, (
    info: *const vk::SemaphoreWaitInfo<'_>,
    timeout_ns: u64,
));
stand_in!(wait_fences for WAIT_FENCES, "wait" on device: vk::Device, (
    count: u32,
    fences: *const vk::Fence,
    wait_all: vk::Bool32,
    timeout_ns: u64,
));
stand_in!(allocate for ALLOCATE, "allocate" on device: vk::Device, (
    info: *const vk::MemoryAllocateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    memory: *mut vk::DeviceMemory,
));

/// What a device that was just created is asked for first. The table of one that is gone may have become its own.
#[expect(unsafe_code, reason = "passed on to a pointer of the real driver")]
unsafe extern "system" fn find_queue(device: vk::Device, family: u32, index: u32, queue: *mut vk::Queue) {
    if let Some(driver) = driver() {
        driver.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&device_of(device));
    }
    if let Some(real) = FIND_QUEUE.get() {
        // SAFETY: the arguments are those of the caller, who keeps to the contract of this very function.
        unsafe { real(device, family, index, queue) }
    }
}
