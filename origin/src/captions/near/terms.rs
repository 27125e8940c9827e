//! A description as a row of terms: what stands between blanks, with the marks at its end apart.

/// What stands in a description, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term<'a> {
    /// Letters, with apostrophes and hyphens inside.
    Word {
        /// As typed.
        text: &'a str,
        /// Does a sentence begin with it?
        opens: bool,
    },
    /// Marks at which a reader pauses: commas, full stops, dashes.
    Pause(&'a str),
    /// Everything else: numbers, question marks, pictures, hashtags.
    Other(&'a str),
}

impl<'a> Term<'a> {
    /// As typed.
    pub(super) const fn text(&self) -> &'a str {
        match self {
            Term::Word { text, .. } | Term::Pause(text) | Term::Other(text) => text,
        }
    }

    /// Has it to do with a number?
    pub(super) fn has_digit(&self) -> bool {
        self.text().contains(char::is_numeric)
    }
}

/// Marks that end a word; the question mark says something and is no pause.
const END_MARKS: [char; 7] = ['.', ',', ';', ':', '!', '?', '…'];
const DASHES: [char; 3] = ['-', '–', '—'];

/// Is it a dash that stands by itself?
pub(super) fn is_dash(mark: &str) -> bool {
    mark.chars().all(|character| DASHES.contains(&character))
}

/// The terms of `text`, whose blanks are single spaces.
pub(super) fn terms(text: &str) -> Vec<Term<'_>> {
    let mut terms = Vec::new();
    let mut opens = true;
    for chunk in text.split(' ').filter(|chunk| !chunk.is_empty()) {
        for piece in at_commas(chunk) {
            let body = piece.trim_end_matches(END_MARKS);
            let marks = &piece[body.len()..];
            if is_dash(body) && !body.is_empty() {
                terms.push(Term::Pause(body));
            } else if is_word(body) {
                terms.push(Term::Word { text: body, opens });
                opens = false;
            } else if !body.is_empty() {
                terms.push(Term::Other(body));
                opens = false;
            }
            if marks.contains('?') {
                terms.push(Term::Other("?"));
            } else if !marks.is_empty() {
                terms.push(Term::Pause(marks));
            }
            opens |= marks.contains(['.', '!', '?', '…']);
        }
    }
    terms
}

/// `coffee,cake` is two words. Between digits a comma belongs to the number.
fn at_commas(chunk: &str) -> impl Iterator<Item = &str> {
    let is_end = |at: usize| {
        let (before, after) = (chunk[..=at].chars().rev().nth(1), chunk[at + 1..].chars().next());
        before.is_some_and(char::is_alphabetic) && after.is_some_and(char::is_alphabetic)
    };
    let mut ends: Vec<usize> =
        chunk.match_indices(',').map(|(at, _)| at).filter(|at| is_end(*at)).map(|at| at + 1).collect();
    ends.push(chunk.len());
    let mut start = 0;
    ends.into_iter().map(move |end| &chunk[std::mem::replace(&mut start, end)..end])
}

/// Letters of the Latin alphabet, joined by apostrophes or hyphens.
fn is_word(text: &str) -> bool {
    let is_letter =
        |character: char| character.is_ascii_alphabetic() || matches!(character, 'à'..='ö' | 'ø'..='ÿ');
    let is_joint = |character: char| matches!(character, '\'' | '’' | '-');
    text.starts_with(is_letter) && text.ends_with(is_letter) && text.chars().all(|c| is_letter(c) || is_joint(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str, opens: bool) -> Term<'_> {
        Term::Word { text, opens }
    }

    #[test]
    fn marks_are_told_from_words_and_sentences_from_one_another() {
        let found = terms("Tea,cake - and 1,200 m. Open? Yes!");
        let expected = [
            word("Tea", true),
            Term::Pause(","),
            word("cake", false),
            Term::Pause("-"),
            word("and", false),
            Term::Other("1,200"),
            word("m", false),
            Term::Pause("."),
            word("Open", true),
            Term::Other("?"),
            word("Yes", true),
            Term::Pause("!"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_of_latin_letters_alone_is_no_word() {
        for text in ["#sunset", "@anna", "30%", "lede.app", "B12", "с\u{430}t", "ca\u{ad}t", "'It'", "🌅", "(so"]
        {
            assert!(matches!(terms(text)[0], Term::Other(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_blanks(text in "[a-zA-Z0-9 ,.!'#é-]{0,40}|\\PC{0,40}") {
            prop_assume!(!text.contains('?'));
            let found: String = terms(&text).iter().map(Term::text).collect();
            prop_assert_eq!(found, text.replace(' ', ""));
        }
    }
}
