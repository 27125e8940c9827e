//! What the engine asks of a device. A backend knows rows, positions and logits; it knows no queue and no caption.

mod choice;
mod description;
pub mod faulty;
pub mod ort;
pub mod scripted;
pub mod wgpu;

use choice::select_each;
pub use choice::{Selected, Selection, select_on_host};
pub use description::{BackendDescription, DeviceBytes, DeviceKind};

/// The sizes of a loaded model on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendShape {
    /// Width of a row of logits.
    pub vocabulary_entries: usize,
    /// Most positions that one row can hold, prompt and completion together.
    pub context_tokens_max: usize,
    /// Most rows that one step can work on.
    pub rows_max: usize,
}

/// Why a device did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// What was asked cannot be done: a row is full, a prompt does not fit. The device is well.
    Refused,
    /// There is no memory left for it. Other rows are untouched.
    OutOfMemory,
    /// The device failed; what its rows hold is undefined.
    Failed,
    /// The device is gone. Only opening it anew helps.
    Lost,
}

/// The device did not do what was asked. For the log only.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {cause}")]
pub struct BackendError {
    kind: FailureKind,
    context: &'static str,
    cause: String,
}

impl BackendError {
    /// The device failed: what was attempted, and what it said.
    pub fn new(context: &'static str, cause: impl ToString) -> Self {
        Self::of_kind(FailureKind::Failed, context, cause)
    }

    /// Like [`Self::new`], of another kind.
    pub fn of_kind(kind: FailureKind, context: &'static str, cause: impl ToString) -> Self {
        Self { kind, context, cause: cause.to_string() }
    }

    /// What is left to be done about it.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }
}

/// A row of attention keys and values on the device, from [`Backend::open`] until [`Backend::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row(pub u32);

/// The beginning of a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Whose beginning.
    pub row: Row,
    /// How much of it; at least 1 and at most what the row holds.
    pub positions: usize,
}

/// Which entries of a [`RowWork`] have their logits looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsWanted {
    /// None: the prompt goes on in a later step.
    None,
    /// Those after the last entry.
    Last,
    /// Those after each entry: what comes after a draft is verified.
    All,
}

/// What one row has the device do in a step: read `ids` after what it holds.
#[derive(Clone, Copy, Debug)]
pub struct RowWork<'a> {
    /// An open row, named at most once in a step.
    pub row: Row,
    /// At least one.
    pub ids: &'a [u32],
    /// Of which of them the logits are wanted.
    pub logits: LogitsWanted,
}

/// A model on a device. Only the engine loop's thread ever touches it.
///
/// A row that a step does not name rests: it keeps what it holds, and costs memory but no time.
///
/// A row's logits depend on its own ids alone: neither on the other rows of a step, nor on how its prompt was cut into
/// steps, nor on whether its beginning came from another row. What an implementation cannot promise it says in its docs.
pub trait Backend {
    /// Sizes that do not change.
    fn shape(&self) -> BackendShape;

    /// What it runs on and how.
    fn description(&self) -> BackendDescription;

    /// What it holds on its device now. A model's share of a device is the sum of it.
    fn device_bytes(&self) -> DeviceBytes;

    /// Entries that it has computed since it was opened, those included that only pad a step: nobody asked for them, and they
    /// cost what others cost. What a step was asked to read is the sum of its works' ids; what is beyond that is padding.
    fn entries_computed(&self) -> u64;

    /// Does a step take a few entries in each row in about the time that it takes one? Then the engine may have it read
    /// guesses of what comes next and look at the logits after each ([`LogitsWanted::All`]).
    fn takes_guesses(&self) -> bool;

    /// Positions for which there is still memory, all rows together. A row takes memory in whole blocks, so each open row
    /// may take up to [`Backend::block_tokens`] − 1 more than its positions.
    fn positions_free(&self) -> usize;

    /// Positions in a block of attention memory, the unit in which rows grow.
    fn block_tokens(&self) -> usize;

    /// A new row, empty or with the beginning of another, which is shared or copied and not computed.
    ///
    /// # Errors
    /// When there is no memory left or the prefix is longer than its row.
    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError>;

    /// Begins a step and may return before the device is done with it.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] and [`FailureKind::OutOfMemory`] leave all rows as they were. After the other kinds the
    /// contents of the named rows are undefined.
    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError>;

    /// Waits for the step and picks the likeliest entries among those permitted, one [`Selected`] for each selection, in
    /// their order. May be asked several times about one step, until the next one begins.
    ///
    /// # Errors
    /// When the device fails, or had failed at the step.
    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError>;

    /// Waits for the step and returns all logits after entry `offset` of the step's `item`th work,
    /// `[vocabulary_entries]`. It costs a transfer; the engine does with [`Backend::select`].
    ///
    /// # Errors
    /// As [`Backend::select`].
    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError>;

    /// Forgets all but the first `positions` of a row. Unknown rows are ignored.
    fn truncate(&mut self, row: Row, positions: usize);

    /// Frees a row. Rows that began with a part of it keep that part. Unknown rows are ignored.
    fn close(&mut self, row: Row);
}
