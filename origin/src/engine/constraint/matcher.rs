//! One stage's automaton: llguidance over a grammar, with the masks of states that recur kept.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::{ParserFactory, TokenParser};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv};

use super::ConstraintError;

/// Most states of one grammar's automaton. Past it the grammar is too complex for a sequence to go on.
const STATES_MAX: usize = 30_000;
/// States from which a grammar that is kept is made anew, so that no sequence meets the limit by others' doing.
const STATES_KEPT_MAX: usize = 10_000;
/// Work on a grammar before it is found too complex; about 50,000 units take a millisecond.
const GRAMMAR_FUEL_MAX: u64 = 1_000_000;
/// Work on one mask; about 14,000 units take a millisecond.
const MASK_FUEL_MAX: u64 = 2_000_000;
/// Most masks kept for one grammar.
const MASKS_MAX: usize = 2_048;
/// Most bytes of masks kept for one grammar: large vocabularies have large masks.
const MASKS_BYTES_MAX: usize = 16 << 20;

/// What may come next, as far as a grammar is concerned.
#[derive(Debug)]
pub(super) struct GrammarMask {
    /// The entries that may come next.
    pub(super) permitted: SimpleVob,
    /// May the stage end here?
    pub(super) accepting: bool,
}

/// What all sequences of one grammar share: its automaton, which grows as it is walked, and its masks by state.
#[derive(Clone)]
pub(super) struct Prototype {
    parser: TokenParser,
    masks: Arc<Mutex<HashMap<u32, Arc<GrammarMask>>>>,
    end: u32,
}

impl std::fmt::Debug for Prototype {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Prototype").finish_non_exhaustive()
    }
}

/// A factory of parsers that hold to this module's limits and write nothing anywhere.
pub(super) fn parser_factory(vocabulary: &TokEnv) -> Result<ParserFactory, ConstraintError> {
    let capabilities = InferenceCapabilities::default();
    let factory = guarded(|| ParserFactory::new(vocabulary, capabilities, &[]).map_err(|error| error.to_string()));
    let mut factory = factory?;
    factory.quiet();
    let limits = factory.limits_mut();
    limits.max_lexer_states = STATES_MAX;
    limits.initial_lexer_fuel = GRAMMAR_FUEL_MAX;
    limits.step_lexer_fuel = MASK_FUEL_MAX;
    // Else an error would hold the text that has been written.
    limits.verbose_errors = false;
    Ok(factory)
}

impl Prototype {
    /// The automaton of a grammar in Lark.
    pub(super) fn new(factory: &ParserFactory, grammar: &str) -> Result<Self, ConstraintError> {
        let parser = guarded(|| {
            let grammar = TopLevelGrammar::from_lark(grammar.to_owned());
            let mut parser = factory.create_parser(grammar).map_err(|error| error.to_string())?;
            parser.start_without_prompt();
            Ok(parser)
        })?;
        let end = factory.tok_env().tok_trie().eos_token();
        Ok(Self { parser, masks: Arc::default(), end })
    }

    /// Has it grown so much that the next sequence should get a new one?
    pub(super) fn is_worn_out(&self) -> bool {
        guarded(|| Ok(self.parser.parser.lexer_stats()))
            .is_ok_and(|stats| stats.num_states > STATES_KEPT_MAX || stats.error)
    }

    /// A matcher at the beginning of its stage.
    pub(super) fn matcher(&self) -> Matcher {
        Matcher(self.clone())
    }
}

/// Where one sequence stands in a stage.
#[derive(Clone, Debug)]
pub(super) struct Matcher(Prototype);

impl Matcher {
    /// What may come next.
    pub(super) fn mask(&mut self) -> Result<Arc<GrammarMask>, ConstraintError> {
        let Prototype { parser, masks, end } = &mut self.0;
        let state = guarded(|| Ok(parser.parser.with_recognizer(|recognizer| recognizer.lexer_state().as_u32())))?;
        if let Some(known) = masks.lock().unwrap_or_else(PoisonError::into_inner).get(&state) {
            return Ok(Arc::clone(known));
        }
        let computed = guarded(|| match parser.compute_mask() {
            Ok(mut permitted) => {
                let accepting = permitted.is_allowed(*end);
                permitted.disallow_token(*end);
                Ok(GrammarMask { permitted, accepting })
            }
            Err(_) if parser.stop_reason() == StopReason::NoExtensionBias => {
                let permitted = parser.token_env.tok_trie().alloc_token_set();
                Ok(GrammarMask { permitted, accepting: false })
            }
            Err(error) => Err(error.to_string()),
        })?;
        let computed = Arc::new(computed);
        let mut masks = masks.lock().unwrap_or_else(PoisonError::into_inner);
        let mask_bytes = size_of_val(computed.permitted.as_slice());
        if masks.len() < MASKS_MAX && (masks.len() + 1) * mask_bytes <= MASKS_BYTES_MAX {
            masks.insert(state, Arc::clone(&computed));
        }
        Ok(computed)
    }

    /// Takes an entry, which must have been permitted.
    pub(super) fn consume(&mut self, id: u32) -> Result<(), ConstraintError> {
        let parser = &mut self.0.parser;
        guarded(|| parser.consume_token(id).map(|_| ()).map_err(|error| error.to_string()))
    }

    /// Could all of these come next, one after the other?
    pub(super) fn permits_all(&mut self, ids: &[u32]) -> bool {
        let parser = &mut self.0.parser;
        guarded(|| parser.validate_tokens_raw(ids).map_err(|error| error.to_string()))
            .is_ok_and(|valid| valid == ids.len())
    }
}

/// Runs what is not ours. A panic in there is an error of this sequence, not the end of the engine.
fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, ConstraintError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        // What the library says quotes the grammar, and with it the caller.
        Ok(outcome) => {
            outcome.map_err(|said| if cfg!(test) { ConstraintError::Grammar(said) } else { kind_of(&said) })
        }
        Err(_) => Err(ConstraintError::Grammar("its library panicked".to_owned())),
    }
}

/// What was said, without quoting anything.
fn kind_of(said: &str) -> ConstraintError {
    let is_too_complex = ["too complex", "too many", "fuel", "limit"].iter().any(|sign| said.contains(sign));
    let kind = if is_too_complex { "it is too complex" } else { "its library refused it" };
    ConstraintError::Grammar(kind.to_owned())
}
