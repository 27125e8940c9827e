//! A hashtag's name being written.

use toktrie::SimpleVob;

use super::lexicon::{NameState, RequestLexicon, UsedNames};
use super::matcher::Matcher;
use super::room::{CLOSING_LETTERS_MAX, NAME_CHARS_MAX, NAME_CHARS_MIN};
use super::{ConstraintError, PreparedConstraint};

/// The hashtags of one answer that are complete.
#[derive(Clone, Debug)]
pub(super) struct Hashtags {
    pub(super) names: Vec<String>,
    used: UsedNames,
}

impl Hashtags {
    pub(super) fn new(prepared: &PreparedConstraint) -> Self {
        let used = prepared.lexicon.as_ref().map(RequestLexicon::unusable_names).unwrap_or_default();
        Self { names: Vec::new(), used }
    }

    pub(super) fn push(&mut self, prepared: &PreparedConstraint, name: String) {
        if let Some(lexicon) = &prepared.lexicon {
            lexicon.use_name(&mut self.used, &name);
        }
        self.names.push(name);
    }

    /// May `name` stand beside the others?
    fn lacks(&self, prepared: &PreparedConstraint, name: &str) -> bool {
        (NAME_CHARS_MIN..=NAME_CHARS_MAX).contains(&name.chars().count())
            && name.chars().any(char::is_alphabetic)
            && !self.names.iter().any(|known| known == name)
            && !prepared.banned_in_names.iter().any(|banned| banned.stands_in(name))
    }
}

/// A name being written.
#[derive(Clone, Debug)]
pub(super) struct HashtagStage {
    matcher: Matcher,
    ids: Vec<u32>,
    text: Vec<u8>,
    /// None when the name is outside of the lexicon.
    lexicon: Option<NameState>,
    /// The name was begun anew, from the model's hashtags alone.
    was_restarted: bool,
    pieces_left: usize,
    /// The length in bytes at which the name could last have ended.
    usable_at: Option<usize>,
    /// Letters that may still be put to a name so that it differs from the others; none before that is tried.
    closing_letters_left: Option<usize>,
}

/// What may follow in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashtagStep {
    /// What the mask holds; the name may also end if so it says.
    Free {
        /// May it end?
        may_leave: bool,
    },
    /// It has to end here.
    Leave,
}

/// An entry of one letter that may come next.
#[derive(Clone, Copy, Debug)]
struct Letter {
    id: u32,
    byte: u8,
    /// May the name end after it, as far as the grammar is concerned?
    accepting: bool,
}

impl HashtagStage {
    pub(super) fn new(prepared: &PreparedConstraint, pieces: usize) -> Self {
        Self {
            matcher: prepared.hashtag_matcher(),
            ids: Vec::new(),
            text: Vec::new(),
            lexicon: prepared.lexicon.as_ref().map(|_| NameState::START),
            was_restarted: false,
            pieces_left: pieces,
            usable_at: None,
            closing_letters_left: None,
        }
    }

    /// The name, if it can be used.
    pub(super) fn into_name(self, prepared: &PreparedConstraint, hashtags: &Hashtags) -> Option<String> {
        let name = name_of(&self.text[..self.usable_at?]);
        hashtags.lacks(prepared, &name).then_some(name)
    }

    /// What may come next goes into `mask`.
    pub(super) fn next(
        &mut self,
        prepared: &PreparedConstraint,
        hashtags: &Hashtags,
        mask: &mut SimpleVob,
    ) -> Result<HashtagStep, ConstraintError> {
        let grammar = self.matcher.mask()?;
        let is_usable = grammar.accepting && hashtags.lacks(prepared, &name_of(&self.text));
        let is_known = match (&prepared.lexicon, self.lexicon) {
            (Some(lexicon), Some(state)) => lexicon.is_name(state),
            _ => true,
        };
        let may_leave = is_usable && (is_known || self.closing_letters_left.is_some());
        if may_leave {
            self.usable_at = Some(self.text.len());
        }
        let units_left = self.units_left();
        if self.pieces_left == 0 || units_left == 0 || self.closing_letters_left.is_some() {
            if self.usable_at.is_none() && is_usable {
                self.usable_at = Some(self.text.len());
            }
            return if self.usable_at.is_some() {
                Ok(HashtagStep::Leave)
            } else {
                self.closing_step(prepared, hashtags, mask)
            };
        }
        mask.set_from(&grammar.permitted);
        prepared.lengths().restrict(mask, units_left);
        if let (Some(lexicon), Some(state)) = (&prepared.lexicon, self.lexicon) {
            let known = lexicon.name_mask(prepared.trie(), state, &hashtags.used);
            if may_leave || !mask.and_is_zero(&known) {
                mask.and(&known);
            } else if !self.was_restarted {
                self.restart(prepared);
                return self.next(prepared, hashtags, mask);
            } else {
                self.lexicon = None;
            }
        }
        if !mask.is_zero() || may_leave {
            return Ok(HashtagStep::Free { may_leave });
        }
        self.pieces_left = 0;
        if self.usable_at.is_some() { Ok(HashtagStep::Leave) } else { self.closing_step(prepared, hashtags, mask) }
    }

    /// The request's own words led nowhere: another name is written in place of this one, of those that are known.
    fn restart(&mut self, prepared: &PreparedConstraint) {
        self.was_restarted = true;
        self.matcher = prepared.hashtag_matcher();
        self.ids.clear();
        self.text.clear();
        self.lexicon = Some(NameState::KNOWN_ONLY);
        self.usable_at = None;
    }

    /// The name cannot be used as it is: single letters are put to it until it can.
    fn closing_step(
        &mut self,
        prepared: &PreparedConstraint,
        hashtags: &Hashtags,
        mask: &mut SimpleVob,
    ) -> Result<HashtagStep, ConstraintError> {
        if self.closing_letters_left.is_none() {
            self.drop_broken_end(prepared)?;
        }
        let left = self.closing_letters_left.unwrap_or(CLOSING_LETTERS_MAX);
        self.closing_letters_left = Some(left.saturating_sub(1));
        let letters = self.letters(prepared)?;
        let ends = |letter: &Letter| {
            let mut text = self.text.clone();
            text.push(letter.byte);
            letter.accepting && hashtags.lacks(prepared, &name_of(&text))
        };
        let completes = letters.iter().any(ends);
        mask.set_all(false);
        for letter in letters.iter().filter(|letter| !completes || ends(letter)) {
            mask.allow_token(letter.id);
        }
        if left == 0 || letters.is_empty() {
            Ok(HashtagStep::Leave)
        } else {
            Ok(HashtagStep::Free { may_leave: false })
        }
    }

    /// The single letters that may come next and leave a way on: not those of a number that has begun.
    fn letters(&mut self, prepared: &PreparedConstraint) -> Result<Vec<Letter>, ConstraintError> {
        let permitted = self.matcher.mask()?;
        let mut letters = Vec::new();
        for (id, byte) in
            prepared.letter_ids().iter().copied().filter(|(id, _)| permitted.permitted.is_allowed(*id))
        {
            let mut matcher = self.matcher.clone();
            matcher.consume(id)?;
            let after = matcher.mask()?;
            let goes_on = prepared.letter_ids().iter().any(|(id, _)| after.permitted.is_allowed(*id));
            if after.accepting || goes_on {
                letters.push(Letter { id, byte, accepting: after.accepting });
            }
        }
        Ok(letters)
    }

    /// Cuts off what no letter can follow: half a character, half a number.
    fn drop_broken_end(&mut self, prepared: &PreparedConstraint) -> Result<(), ConstraintError> {
        loop {
            self.matcher = prepared.hashtag_matcher();
            for id in &self.ids {
                self.matcher.consume(*id)?;
            }
            if self.text.is_empty() && prepared.starts_with_blank() {
                return self.put_blank(prepared);
            }
            let takes_letter = self.letters(prepared)?.iter().any(|letter| letter.accepting);
            if takes_letter && std::str::from_utf8(&self.text).is_ok() {
                return Ok(());
            }
            let Some(id) = self.ids.pop() else { return Ok(()) };
            let bytes = prepared.vocabulary().text(id).map_or(0, |piece| piece.bytes.len());
            self.text.truncate(self.text.len().saturating_sub(bytes));
        }
    }

    /// A name has to begin with a blank; it costs no entry, since nothing of it is left in the name.
    fn put_blank(&mut self, prepared: &PreparedConstraint) -> Result<(), ConstraintError> {
        if let Some(id) = prepared.trie().token_id(b" ") {
            self.matcher.consume(id)?;
            self.ids.push(id);
            self.text.push(b' ');
        }
        Ok(())
    }

    /// Takes an entry of the name.
    pub(super) fn accept(
        &mut self,
        prepared: &PreparedConstraint,
        hashtags: &Hashtags,
        id: u32,
    ) -> Result<(), ConstraintError> {
        self.matcher.consume(id)?;
        let Some(piece) = prepared.vocabulary().text(id) else { return Ok(()) };
        self.ids.push(id);
        self.text.extend_from_slice(&piece.bytes);
        self.pieces_left = self.pieces_left.saturating_sub(1);
        if let (Some(lexicon), Some(state)) = (&prepared.lexicon, self.lexicon) {
            self.lexicon = lexicon.name_after(state, &piece.bytes, &hashtags.used);
        }
        Ok(())
    }

    /// Room for the name, kept short of the limit by the letters that may have to be put to it.
    fn units_left(&self) -> usize {
        let written = crate::engine::vocabulary::utf16_units(&self.text);
        (NAME_CHARS_MAX - CLOSING_LETTERS_MAX).saturating_sub(written)
    }
}

/// The name without its blanks. The grammar lets no capital pass.
fn name_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|character| *character != ' ').collect()
}
