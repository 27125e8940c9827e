//! Devices that fail when they are told to: libraries that an origin loads in place of the real ones, and their orders.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::path_from_environment;

/// As often as there are calls.
pub const ALWAYS: &str = "always";

/// One such device, and what it does at present.
///
/// An origin that is started with [`FaultyDevice::settings`] and more computes on it. It may serve one origin only.
#[derive(Debug)]
pub struct FaultyDevice {
    settings: Vec<(&'static str, String)>,
    folder: TempDir,
    orders: AtomicU64,
}

impl FaultyDevice {
    /// ONNX Runtime, whose call is `run`.
    ///
    /// # Panics
    /// When `cargo xtask test` has not said where the libraries are.
    #[must_use]
    pub fn onnx_runtime() -> Self {
        let real = path_from_environment("LEDE_ORT_LIBRARY");
        Self::new(|orders| {
            vec![
                ("LEDE_BACKEND", "ort".to_owned()),
                ("LEDE_ORT_LIBRARY", text(&library("faulty_ort"))),
                ("FAULTY_ORT_LIBRARY", text(&real)),
                ("FAULTY_ORT_ORDERS", orders),
            ]
        })
    }

    /// The Vulkan driver of the tests, whose calls are `submit`, `wait` and `allocate`.
    ///
    /// # Panics
    /// When `cargo xtask test` has not said which driver that is.
    #[must_use]
    pub fn vulkan() -> Self {
        let manifest = path_from_environment("VK_DRIVER_FILES");
        let real: Value = fs::read_to_string(&manifest)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| panic!("{} is no driver's manifest", manifest.display()));
        let ours = json!({
            "file_format_version": "1.0.0",
            "ICD": { "library_path": text(&library("faulty_vulkan")), "api_version": real["ICD"]["api_version"] },
        });
        let named = real["ICD"]["library_path"].as_str().expect("a manifest names a library");
        // A name without a slash is looked for where the system keeps libraries, any other one beside the manifest.
        let beside = manifest.parent().filter(|_| named.contains('/')).map(|folder| text(&folder.join(named)));
        let device = Self::new(|orders| {
            vec![
                ("LEDE_BACKEND", "wgpu".to_owned()),
                ("FAULTY_VULKAN_DRIVER", beside.unwrap_or_else(|| named.to_owned())),
                ("FAULTY_VULKAN_ORDERS", orders),
            ]
        });
        let manifest = device.folder.path().join("faulty_icd.json");
        fs::write(&manifest, ours.to_string()).expect("a temporary file can be written");
        device.and([("VK_DRIVER_FILES", text(&manifest)), ("VK_ICD_FILENAMES", text(&manifest))])
    }

    fn new(settings: impl FnOnce(String) -> Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let settings = settings(text(&folder.path().join("orders")));
        Self { settings, folder, orders: AtomicU64::new(0) }
    }

    fn and<const N: usize>(mut self, settings: [(&'static str, String); N]) -> Self {
        self.settings.extend(settings);
        self
    }

    /// What an origin is told so that it computes on this device; `more` outweighs it.
    #[must_use]
    pub fn settings<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        own.chain(more.iter().copied()).collect()
    }

    /// From the next call on: `<call> <fault> <times>`, such as `run lost 1` or `wait slow:200 always`. Faults are `fail`,
    /// `out_of_memory`, `lost`, `hang` (until there is another order) and `slow:<milliseconds>`.
    pub fn order(&self, order: &str) {
        let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        let written = self.folder.path().join("written");
        fs::write(&written, format!("{number} {order}")).expect("a temporary file can be written");
        fs::rename(written, self.folder.path().join("orders")).expect("orders are replaced as a whole");
    }

    /// It does what it is for.
    pub fn recover(&self) {
        self.order("none fail 0");
    }

    /// How many calls the present order has struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        let text = fs::read_to_string(self.folder.path().join("orders.struck")).unwrap_or_default();
        let (order, struck) = text.split_once(' ').unwrap_or_default();
        let is_present = order == self.orders.load(Ordering::Relaxed).to_string();
        struck.parse().ok().filter(|_| is_present).unwrap_or_default()
    }
}

impl Drop for FaultyDevice {
    fn drop(&mut self) {
        // A call that hangs would outlast the process that it is part of.
        self.recover();
    }
}

fn library(name: &str) -> PathBuf {
    let library = path_from_environment("LEDE_FAULTY_DEVICES").join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
    assert!(library.is_file(), "{} is not built", library.display());
    library
}

fn text(path: &Path) -> String {
    path.to_str().expect("folders of tests have plain names").to_owned()
}
