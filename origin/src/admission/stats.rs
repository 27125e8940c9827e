//! What is counted at the door.

use lede_shared::plan::Priority;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ENDPOINTS, Endpoint, Entrance, PRIORITIES, Reason};

/// Something of each priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ByPriority<T> {
    /// Behind everybody.
    pub low: T,
    /// Ordinary callers.
    pub normal: T,
    /// Callers who pay for it.
    pub high: T,
    /// Nobody goes before.
    pub critical: T,
}

/// Something of each endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ByEndpoint<T> {
    /// `generate`, for one answer.
    pub generate: T,
    /// Requests of batches.
    pub batch: T,
    /// `generate` as a stream.
    pub stream: T,
}

/// Who was not let in, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusals {
    /// All places were taken that there are for their priority.
    pub full: u64,
    /// As many were inside as may have come by their endpoint.
    pub endpoint_full: u64,
    /// They could not have been served in time.
    pub too_late: u64,
}

/// Who is inside, who was let in and who was not, since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct AdmissionStats {
    /// Sequences inside, waiting and running.
    pub sequences: ByPriority<usize>,
    /// Requests inside.
    pub requests: ByEndpoint<usize>,
    /// Requests that were let in.
    pub admitted: ByPriority<u64>,
    /// Requests that were refused.
    pub refused: ByPriority<Refusals>,
    /// Sequences a second that leave a device that is full; none while too few have left lately.
    pub drain_rate_per_s: Option<f64>,
}

/// Counts of requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    admitted: [u64; PRIORITIES],
    refused: [Refusals; PRIORITIES],
}

impl<T: Copy> ByPriority<T> {
    /// What belongs to `priority`.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> T {
        match priority {
            Priority::Low => self.low,
            Priority::Normal => self.normal,
            Priority::High => self.high,
            Priority::Critical => self.critical,
        }
    }

    /// From what stands in the order of priorities, the least urgent first.
    #[must_use]
    pub const fn in_order([low, normal, high, critical]: [T; PRIORITIES]) -> Self {
        Self { low, normal, high, critical }
    }
}

impl<T: Copy> ByEndpoint<T> {
    /// What belongs to `endpoint`.
    #[must_use]
    pub const fn of(&self, endpoint: Endpoint) -> T {
        match endpoint {
            Endpoint::Generate => self.generate,
            Endpoint::Batch => self.batch,
            Endpoint::Stream => self.stream,
        }
    }
}

impl Counts {
    pub(super) fn note(&mut self, entrance: &Entrance, refused: Option<Reason>) {
        let refusals = &mut self.refused[entrance.priority as usize];
        let count = match refused {
            None => &mut self.admitted[entrance.priority as usize],
            Some(Reason::Full) => &mut refusals.full,
            Some(Reason::EndpointFull) => &mut refusals.endpoint_full,
            Some(Reason::TooLate) => &mut refusals.too_late,
        };
        *count += 1;
    }
}

impl AdmissionStats {
    pub(super) fn of(
        sequences: [usize; PRIORITIES],
        [generate, batch, stream]: [usize; ENDPOINTS],
        counts: &Counts,
        drain_rate_per_s: Option<f64>,
    ) -> Self {
        Self {
            sequences: ByPriority::in_order(sequences),
            requests: ByEndpoint { generate, batch, stream },
            admitted: ByPriority::in_order(counts.admitted),
            refused: ByPriority::in_order(counts.refused),
            drain_rate_per_s,
        }
    }
}
