//! Ctrl-C and its kin, as a flag that the waiting loops look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Set by the first of SIGINT, SIGTERM and SIGHUP.
#[derive(Debug, Default)]
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// From here on these signals set the flag instead of ending this process.
    pub(crate) fn listen() -> Result<Self> {
        let signals = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&signals.0)).context("cannot handle signals")?;
        }
        Ok(signals)
    }

    pub(crate) fn arrived(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
