//! The way into the engine loop: sequences, and questions about those that are inside.

use std::time::{Duration, Instant};

use lede_shared::plan::Priority;
use tokio::sync::{mpsc, oneshot};

use super::scheduler::SequenceId;
use super::sequence::{Sequence, SequenceError, SequenceRequest};
use super::{PendingSequence, SubmitError};

/// Questions that wait for the loop.
const QUESTIONS_MAX: usize = 16;

/// Something comes in.
#[derive(Debug)]
pub(super) enum Arrival {
    Sequence(Box<Sequence>),
    /// Nothing but a reason to look up: there is a question.
    Bell,
}

/// What somebody outside wants of the sequences inside.
#[derive(Debug)]
pub(super) enum Question {
    List(oneshot::Sender<Vec<SequenceListing>>),
    Cancel(Cancel, oneshot::Sender<usize>),
    GiveUpKept(oneshot::Sender<()>),
}

/// Which sequences to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// These.
    Ids(Vec<SequenceId>),
    /// All of a priority.
    Priority(Priority),
}

impl Cancel {
    /// Is this one meant?
    #[must_use]
    pub fn names(&self, id: SequenceId, priority: Priority) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&id),
            Self::Priority(named) => *named == priority,
        }
    }
}

/// What a sequence is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceState {
    /// For a place on the device.
    Waiting,
    /// It has been preempted; what it has read is still on the device.
    Resting,
    /// Its prompt is being read.
    Prefilling,
    /// It writes.
    Decoding,
}

/// A sequence inside the engine. It has no text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceListing {
    /// Its name.
    pub id: SequenceId,
    /// As it was asked for.
    pub priority: Priority,
    /// What it is doing.
    pub state: SequenceState,
    /// Since it was submitted.
    pub age: Duration,
    /// Length of its prompt.
    pub prompt_tokens: usize,
    /// What it has written.
    pub completion_tokens: usize,
}

/// The outer side.
#[derive(Clone, Debug)]
pub struct EngineDoor {
    arrivals: mpsc::Sender<Arrival>,
    questions: mpsc::Sender<Question>,
}

/// The inner side: what has arrived, and what a loop before this one has left unfinished.
#[derive(Debug)]
pub struct EngineInbox {
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) questions: mpsc::Receiver<Question>,
    /// Sequences to go on with. They keep their names.
    pub(super) unfinished: Vec<Sequence>,
}

/// A door behind which `waiting_sequences_max` may stand.
#[must_use]
pub fn door(waiting_sequences_max: usize) -> (EngineDoor, EngineInbox) {
    let (arrivals, arrived) = mpsc::channel(waiting_sequences_max);
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let inbox = EngineInbox { arrivals: arrived, questions: asked, unfinished: Vec::new() };
    (EngineDoor { arrivals, questions }, inbox)
}

impl EngineDoor {
    /// Hands a sequence in.
    ///
    /// # Errors
    /// When there is no room, or nobody behind the door.
    pub fn submit(&self, request: SequenceRequest) -> Result<PendingSequence, SubmitError> {
        self.submit_at(Instant::now(), request)
    }

    pub(super) fn submit_at(
        &self,
        now: Instant,
        request: SequenceRequest,
    ) -> Result<PendingSequence, SubmitError> {
        let (reply, pending) = oneshot::channel();
        let sequence = Sequence::new(request, now, reply);
        self.arrivals.try_send(Arrival::Sequence(Box::new(sequence))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Full,
            mpsc::error::TrySendError::Closed(_) => SubmitError::NotReady,
        })?;
        Ok(pending)
    }

    /// The sequences inside, by name; nothing when nobody answers.
    pub async fn list(&self) -> Vec<SequenceListing> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::List(reply));
        answer.await.unwrap_or_default()
    }

    /// Ends sequences at the next step, and tells how many.
    pub async fn cancel(&self, cancel: Cancel) -> usize {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Cancel(cancel, reply));
        answer.await.unwrap_or_default()
    }

    /// Gives up what is kept of prompts for those that begin alike. False when nobody answers.
    pub async fn give_up_kept(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::GiveUpKept(reply));
        answer.await.is_ok()
    }

    /// A question that finds no room is dropped, and with it its reply.
    fn ask(&self, question: Question) {
        if self.questions.try_send(question).is_ok() {
            // When there is no room for the bell, the loop has reasons enough to look up.
            let _ = self.arrivals.try_send(Arrival::Bell);
        }
    }
}

impl EngineInbox {
    /// Tells everybody who waits behind the door that nothing will come of it.
    pub fn refuse_all(mut self) {
        self.arrivals.close();
        self.unfinished.into_iter().for_each(|sequence| sequence.fail(SequenceError::BackendLost));
        while let Ok(arrival) = self.arrivals.try_recv() {
            if let Arrival::Sequence(sequence) = arrival {
                sequence.fail(SequenceError::BackendLost);
            }
        }
    }
}
