//! Loading and unloading, one model at a time, by one task.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Inner, LocalModel};
use crate::backend::DeviceKind;
use crate::engine::{EngineEnd, EngineStatus};
use crate::models::residency::Arrival;
use crate::process_memory::resident_bytes;

/// It is looked so often whether there is time for what nobody has asked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest wait for a model to leave before another is loaded in its place. It goes on leaving.
const LEAVING_MAX: Duration = Duration::from_secs(60);

/// The backend that does not hold weights as they lie in their files.
const ROUNDS_WEIGHTS: &str = "wgpu";

/// What is to be done.
#[derive(Debug)]
pub(super) enum Wish {
    /// Bring one, once others are gone.
    Load { name: String, unload: Vec<String> },
    /// Have one leave.
    Unload(String),
}

/// Carries out wishes until nobody has the registry any more.
pub(super) async fn work(registry: Weak<Inner>, mut wishes: mpsc::Receiver<Wish>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let wish = tokio::select! {
            biased;
            wish = wishes.recv() => match wish {
                Some(wish) => Some(wish),
                None => return,
            },
            _ = look.tick() => None,
        };
        let Some(registry) = registry.upgrade() else { return };
        match wish {
            Some(Wish::Load { name, unload }) => registry.load(&name, &unload).await,
            Some(Wish::Unload(name)) => drop(registry.let_go(&name).await),
            None => registry.use_idle_time().await,
        }
    }
}

/// Notes when the primary model is there, and what it takes: what the process has grown by since `before` at the start.
pub(super) async fn watch_primary(registry: Weak<Inner>, before: Option<u64>) {
    let Some((name, local)) = registry.upgrade().and_then(|registry| registry.primary.clone()) else { return };
    let status = local.engine.loaded().await;
    let Some(registry) = registry.upgrade() else { return };
    let mut ledger = registry.ledger();
    if let EngineStatus::Failed(reason) = status {
        return ledger.did_not_arrive(&name, reason, Instant::now());
    }
    let on_disk = ledger.standing(&name).map_or(0, |model| model.bytes);
    let bytes = measured(before, &local, on_disk);
    // It stays whatever it takes, and was before all others.
    let _ = ledger.arrived(&name, local, bytes);
    if ledger.residency().bytes_over() > 0 {
        let bytes_max = ledger.residency().bytes_max();
        tracing::warn!(bytes, bytes_max, "the primary model alone takes more than LEDE_MODELS_BYTES_MAX");
    }
}

impl Inner {
    /// When nobody has asked for anything for a while: a model that there is room for, and a trial.
    async fn use_idle_time(self: &Arc<Self>) {
        if !self.primary_has_arrived() {
            return;
        }
        let now = Instant::now();
        let next = {
            let mut ledger = self.ledger();
            let is_idle = ledger.is_idle_for(self.settings.idle_before_loading, now);
            if is_idle { ledger.bring_next(now) } else { None }
        };
        if let Some(name) = next {
            tracing::info!(model = name, "a model is loaded in idle time");
            self.load(&name, &[]).await;
        }
        self.try_idle_model().await;
    }

    /// Brings a model that is on its way, in place of those that are leaving.
    async fn load(self: &Arc<Self>, name: &str, unload: &[String]) {
        let mut staying = Vec::new();
        for leaving in unload {
            if !self.let_go(leaving).await {
                staying.push(leaving.as_str());
            }
        }
        let brought = if staying.is_empty() {
            self.bring(name).await
        } else {
            Err(format!("{} has not left the device yet", staying.join(", ")))
        };
        let (local, bytes) = match brought {
            Ok(brought) => brought,
            Err(reason) => {
                tracing::error!(model = name, reason, "a model could not be loaded");
                return self.ledger().did_not_arrive(name, reason, Instant::now());
            }
        };
        let arrival = self.ledger().arrived(name, local, bytes);
        match arrival {
            Arrival::Stays { unload } => {
                tracing::info!(model = name, bytes, unload = unload.join(", "), "a model is loaded");
                for leaving in &unload {
                    self.let_go(leaving).await;
                }
            }
            Arrival::Goes(no_room) => {
                tracing::warn!(model = name, %no_room, "a model is too large after all");
                self.let_go(name).await;
            }
        }
    }

    /// Text side first, then the graph: an engine that is ready, and what the process has grown by for it.
    async fn bring(&self, name: &str) -> Result<(LocalModel, u64), String> {
        let source = self.sources.get(name).ok_or("it is not known")?;
        let before = resident_bytes();
        let open = Arc::clone(&source.open);
        let opened = tokio::task::spawn_blocking(move || open()).await;
        let local = opened.map_err(|_| "opening it panicked")??;
        let reason = match local.engine.loaded().await {
            EngineStatus::Ready(_) => {
                let bytes = measured(before, &local, source.bytes);
                return Ok((local, bytes));
            }
            EngineStatus::Failed(reason) => reason,
            status => format!("it is {status:?} as soon as it is loaded"),
        };
        let end = local.engine.end();
        drop(local);
        // What is left of it should not be taken for the next one's.
        let _ = tokio::time::timeout(LEAVING_MAX, end.reached()).await;
        Err(reason)
    }

    /// Drops a leaving model's handle and waits until nothing of it is left: not before then its room is free. False when
    /// that takes too long; it is noted when it has come to it.
    async fn let_go(self: &Arc<Self>, name: &str) -> bool {
        let taken = self.ledger().take(name);
        let end = match taken {
            Some(local) => local.engine.end(),
            // Somebody waits for it already.
            None => return false,
        };
        let leaving = tokio::spawn(note_end(Arc::downgrade(self), name.to_owned(), end));
        let is_gone = tokio::time::timeout(LEAVING_MAX, leaving).await.is_ok();
        if !is_gone {
            tracing::error!(model = name, "a model does not leave the device");
        }
        is_gone
    }
}

/// The wait is for a thread that its supervision sees to: it ends, or is given up.
async fn note_end(registry: Weak<Inner>, name: String, end: EngineEnd) {
    end.reached().await;
    if let Some(registry) = registry.upgrade() {
        registry.ledger().gone(&name);
        tracing::info!(model = name, "a model is unloaded");
    }
}

/// What a model takes. Its files are the least that it can be, but where the weights are rounded as they are loaded.
fn measured(before: Option<u64>, local: &LocalModel, on_disk: u64) -> u64 {
    let grown = resident_bytes().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
    let (held, description) =
        (local.engine.counters().device_bytes().total_bytes(), local.engine.condition().description);
    let rounds = description.as_ref().is_some_and(|description| description.backend == ROUNDS_WEIGHTS);
    let held = if rounds { held } else { held.max(on_disk) };
    taken(grown, held, description.map(|description| description.device_kind))
}

/// The process has grown by `grown`, and the device says that it holds `held`. What is on a device with memory of its own does
/// not show in the process. What is in the machine's shows in both, but what is mapped from a file need not be resident yet.
fn taken(grown: u64, held: u64, kind: Option<DeviceKind>) -> u64 {
    match kind {
        None | Some(DeviceKind::Cpu | DeviceKind::IntegratedGpu) => grown.max(held),
        Some(DeviceKind::DiscreteGpu | DeviceKind::VirtualGpu | DeviceKind::Gpu | DeviceKind::Other) => {
            grown.saturating_add(held)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_card_counts_beside_the_process_and_the_machines_own_once() {
        assert_eq!(taken(30, 100, Some(DeviceKind::DiscreteGpu)), 130);
        assert_eq!(taken(120, 100, Some(DeviceKind::Cpu)), 120);
        assert_eq!(taken(30, 100, Some(DeviceKind::Cpu)), 100, "it is mapped and not resident yet");
        assert_eq!(taken(0, 100, None), 100);
    }
}
