//! ONNX Runtime that fails when it is told to: the real library with one call of its interface replaced.
//!
//! It is loaded where `LEDE_ORT_LIBRARY` names it, loads the one that `FAULTY_ORT_LIBRARY` names, and looks for orders in the file
//! `FAULTY_ORT_ORDERS`. Running a graph with what is bound to it, as each step of the origin does, is the call `run`.

mod orders;

use std::env;
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use libloading::Library;
use ort_sys::{
    ORT_API_VERSION, OrtApi, OrtApiBase, OrtErrorCode, OrtIoBinding, OrtRunOptions, OrtSession, OrtStatusPtr,
};

use crate::orders::{Fault, Orders};

/// What ONNX Runtime says of each fault where it has happened; the origin goes by these words.
const FAILED: &str = "Non-zero status code returned while running a node: it was told to fail";
const OUT_OF_MEMORY: &str = "Failed to allocate memory for requested buffer of size 1073741824";
const LOST: &str = "CUDA failure 46: all CUDA-capable devices are busy or unavailable";

/// The real library, its interface, and what is handed out in its place.
struct Real {
    base: &'static OrtApiBase,
    api: &'static OrtApi,
    faulty: OrtApi,
    orders: Orders,
    /// The interface points into it.
    _library: Library,
}

static REAL: OnceLock<Option<Real>> = OnceLock::new();

static BASE: OrtApiBase = OrtApiBase { GetApi: get_api, GetVersionString: get_version };

/// None where there is no library, or one that is too old.
fn real() -> Option<&'static Real> {
    REAL.get_or_init(load).as_ref()
}

#[expect(unsafe_code, reason = "a library is loaded, and its interface consists of pointers")]
fn load() -> Option<Real> {
    // SAFETY: the caller of the test says that this is ONNX Runtime, whose initialisers may run in any process. Its entry has this
    // signature in all versions, and gives a table that lives as long as the library, which is never unloaded: `Real` keeps it,
    // and is itself kept in a static. The table of a version has the layout that ort-sys declares for that version.
    unsafe {
        let library = Library::new(env::var_os("FAULTY_ORT_LIBRARY")?).ok()?;
        let entry = library.get::<unsafe extern "system" fn() -> *const OrtApiBase>(b"OrtGetApiBase").ok()?;
        let base = entry().as_ref()?;
        let api = (base.GetApi)(ORT_API_VERSION).as_ref()?;
        let faulty = OrtApi { RunWithBinding: run_with_binding, ..api.clone() };
        Some(Real { base, api, faulty, orders: Orders::named_by("FAULTY_ORT_ORDERS"), _library: library })
    }
}

/// The library's entry.
#[expect(unsafe_code, reason = "the name by which it is found")]
// SAFETY: nothing else in the process is linked against this name: ONNX Runtime is always loaded by hand.
#[unsafe(export_name = "OrtGetApiBase")]
pub extern "system" fn get_api_base() -> *const OrtApiBase {
    &raw const BASE
}

extern "system" fn get_api(version: u32) -> *const OrtApi {
    match real() {
        Some(real) if version == ORT_API_VERSION => &raw const real.faulty,
        _ => std::ptr::null(),
    }
}

#[expect(unsafe_code, reason = "passed on to a pointer of the real interface")]
extern "system" fn get_version() -> *const c_char {
    // SAFETY: it takes nothing, and gives a text that lives as long as the library.
    real().map_or(c"0.0.0".as_ptr(), |real| unsafe { (real.base.GetVersionString)() })
}

/// Stands in for the call that takes a step. Graphs that are run without bindings are not concerned.
#[expect(unsafe_code, reason = "passed on to a pointer of the real interface")]
unsafe extern "system" fn run_with_binding(
    session: *mut OrtSession,
    options: *const OrtRunOptions,
    binding: *const OrtIoBinding,
) -> OrtStatusPtr {
    match REAL.get() {
        Some(Some(real)) => match real.orders.obeyed("run") {
            Some(fault) => status(real.api, fault),
            // SAFETY: the arguments are those of the caller, who keeps to the contract of this very function.
            None => unsafe { (real.api.RunWithBinding)(session, options, binding) },
        },
        // Nobody has this pointer before the library is loaded.
        _ => OrtStatusPtr(std::ptr::null_mut()),
    }
}

/// A failure as ONNX Runtime itself makes it.
#[expect(unsafe_code, reason = "made by a pointer of the real interface")]
fn status(api: &OrtApi, fault: Fault) -> OrtStatusPtr {
    let message = match fault {
        Fault::Failed => FAILED,
        Fault::OutOfMemory => OUT_OF_MEMORY,
        Fault::Lost => LOST,
    };
    let message = CString::new(message).unwrap_or_default();
    // SAFETY: the text ends with a zero and is copied. Who gets the status releases it.
    unsafe { (api.CreateStatus)(OrtErrorCode::ORT_FAIL, message.as_ptr()) }
}
