//! The grammars: what a caption and a hashtag's name may look like, as regular expressions put together with
//! intersection and complement. None of them counts characters, so that their automata stay small.

use lede_shared::api::text::{fold_case, is_emoji};

use super::characters::{
    EMOJI, JOINER, NUMBERS, PICTURES, REGIONAL, SKIN_TONES, UNWANTED, VARIATION_SELECTOR, class_of, escaped,
    is_currency, is_mark, is_unspaced, push_escaped,
};
use super::markup::Notation;
use super::rules::{BannedInName, CaptionRules};

/// Marks that may alone stand between two numbers.
const MARKS: &str =
    r#" !"&()*+;=?\u{a1}\u{b0}\u{b7}\u{bf}\u{2014}\u{2018}\u{2019}\u{201c}\u{201d}\u{2022}\u{2026}"#;
/// Marks that may not: `20.5` is neither 20 nor 5.
const NUMBER_JOINTS: &str = r".,:\x2f'\-\u{2013}";
/// Marks of other languages.
const MARKS_ABROAD: &str = r"_~<>\[\]{}|\u{ab}\u{bb}\u{2010}-\u{2012}\u{201a}\u{201e}\u{2039}\u{203a}\u{3001}-\u{3003}\u{3008}-\u{3011}\u{ff01}\u{ff08}\u{ff09}\u{ff0c}\u{ff1a}\u{ff1b}\u{ff1f}";
/// Letters of the languages in Latin script.
const LATIN: &str = r"A-Za-z\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{24f}";
const LATIN_LOWER: &str = r"a-z\u{df}-\u{f6}\u{f8}-\u{ff}";
/// Longest number in a hashtag.
const NUMBER_IN_NAME_CHARS_MAX: usize = 12;
/// What no caption begins with.
const NO_BEGINNING: &str = r" .,;:!?)\-&*+\x2f=\u{2013}\u{2014}\u{2022}\u{2026}";

/// The grammar of a caption, in Lark. How many pictures there are is counted elsewhere: a counter in here would make
/// the automaton large.
pub(super) fn caption(rules: &CaptionRules, notation: Notation, has_pictures: bool) -> String {
    let alphabet = Alphabet::of(rules, notation);
    let escapes = if notation == Notation::Json { r#"\x5c[n"]|"# } else { "" };
    let blank = if notation == Notation::Words { "/ / " } else { "" };
    let picture = if has_pictures { format!("{}|", picture()) } else { String::new() };
    let atoms: Vec<String> = atoms(rules, notation).iter().map(|atom| escaped(&notation.written(atom))).collect();
    let body = if atoms.is_empty() {
        "BODY: TEXT\n".to_owned()
    } else {
        format!(
            "BODY: TEXT | (TEXT APART)? ATOM (GAP ATOM)* (APART TEXT)?\nGAP: WIDE | APART TEXT APART\n\
             WIDE: /{escapes}{picture}[{wide}]/\nAPART: /{escapes}{picture}[{wide}{NUMBER_JOINTS}]/\n\
             ATOM: /{atoms}/\n",
            wide = alphabet.wide,
            atoms = atoms.join("|"),
        )
    };
    format!(
        "start: CAPTION\nCAPTION: ({blank}BODY) & ~FORBIDDEN\n{body}TEXT: /({escapes}{picture}{text})*/\n{forbidden}",
        text = alphabet.text,
        forbidden = forbidden(rules, &alphabet, notation),
    )
}

/// One picture, however many characters make it.
fn picture() -> String {
    let (selector, joiner) = (u32::from(VARIATION_SELECTOR), u32::from(JOINER));
    let one = format!(r"[{pictures}](\u{{{selector:x}}}|[{SKIN_TONES}])?", pictures = *PICTURES);
    format!("[{REGIONAL}]{{1,2}}|{one}(\\u{{{joiner:x}}}{one})*")
}

/// The grammar of a hashtag's name, in Lark.
pub(super) fn hashtag(rules: &CaptionRules, notation: Notation) -> String {
    let (blank, letters) = match notation {
        Notation::Words => {
            let own = rules.sources.iter().flat_map(|text| text.chars()).flat_map(char::to_lowercase);
            let own = own.filter(|c| !c.is_ascii() && c.is_alphabetic() && !c.is_numeric() && !has_lower_case(*c));
            (" ", format!("[{LATIN_LOWER}{}]", class_of(own)))
        }
        Notation::Json => ("", r"[\p{Alphabetic}--[\p{Changes_When_Lowercased}\p{N}]]".to_owned()),
    };
    let numbers: Vec<String> = numbers_in_names(&rules.numbers).iter().map(|number| escaped(number)).collect();
    let form = if numbers.is_empty() {
        "FORM: LETTERS+".to_owned()
    } else {
        format!("FORM: LETTERS* (NUMBER LETTERS+)* NUMBER?\nNUMBER: /{blank}({})/", numbers.join("|"))
    };
    let banned = banned_in_names(rules, blank);
    let (without, banned) = if banned.is_empty() {
        (String::new(), String::new())
    } else {
        (" & ~BANNED".to_owned(), format!("BANNED: /(?s:{})/\n", banned.join("|")))
    };
    format!("start: NAME\nNAME: /.+/ & FORM{without}\n{form}\nLETTERS: /{blank}{letters}+/\n{banned}")
}

fn has_lower_case(character: char) -> bool {
    !character.to_lowercase().eq([character])
}

/// Numbers that can stand in a hashtag: those of letters and digits alone.
pub(super) fn numbers_in_names(numbers: &[String]) -> Vec<String> {
    let trimmed = numbers.iter().map(|number| number.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    let mut usable: Vec<String> = trimmed
        .filter(|number| {
            (1..=NUMBER_IN_NAME_CHARS_MAX).contains(&number.chars().count())
                && number.chars().all(|c| c.is_alphanumeric() && !has_lower_case(c))
        })
        .collect();
    usable.sort_unstable();
    usable.dedup();
    usable
}

fn banned_in_names(rules: &CaptionRules, blank: &str) -> Vec<String> {
    let pattern = |banned: BannedInName| {
        let mut letters = String::new();
        for character in banned.letters.chars() {
            if !blank.is_empty() {
                letters.push_str(" ?");
            }
            push_escaped(&mut letters, character);
        }
        match (banned.anywhere, blank.is_empty()) {
            (true, _) => format!(".*{letters}.*"),
            (false, true) => letters,
            (false, false) => format!("(.* )?{letters}( .*)?"),
        }
    };
    rules.banned_in_names().into_iter().map(pattern).collect()
}

/// Which characters a caption may have.
struct Alphabet {
    /// One character of the caption, numbers, emoji and escapes apart.
    text: String,
    /// Inside of a class: characters that belong to no word and may alone stand between two numbers.
    wide: String,
    /// Inside of a class: what belongs to a word.
    word: String,
}

impl Alphabet {
    fn of(rules: &CaptionRules, notation: Notation) -> Self {
        let own = rules.sources.iter().flat_map(|text| text.chars()).filter(|character| !character.is_ascii());
        let (letters, marks): (Vec<char>, Vec<char>) = own.filter(is_usable).partition(is_in_word);
        let in_words =
            rules.sources.iter().flat_map(|text| text.chars()).filter(|character| !character.is_ascii());
        let spaced = class_of(in_words.filter(|c| (c.is_alphanumeric() && !is_unspaced(*c)) || is_mark(*c)));
        let word = format!(r"0-9\u{{b2}}\u{{b3}}\u{{b9}}\u{{bc}}-\u{{be}}\u{{aa}}\u{{b5}}\u{{ba}}{LATIN}{spaced}");
        let has_at = rules.sources.iter().any(|text| text.contains('@'));
        match notation {
            Notation::Words => {
                let wide = format!("{MARKS}{}{}", if has_at { "@" } else { "" }, class_of(marks));
                let letters = class_of(letters);
                Self { text: format!("[{LATIN}{letters}{wide}{NUMBER_JOINTS}]"), wide, word }
            }
            Notation::Json => {
                let (in_text, in_wide) = if has_at { ("", "@") } else { ("@", "") };
                let text = format!(r#"[^#"\x5c{in_text}{}{UNWANTED}{}]"#, *NUMBERS, *EMOJI);
                let wide = format!("{}{MARKS_ABROAD}{in_wide}", MARKS.replace('"', ""));
                Self { text, wide, word }
            }
        }
    }
}

/// May a character of the caller's stand in a caption as text?
fn is_usable(character: &char) -> bool {
    let is_unwanted = matches!(character, '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{1100}'..='\u{11ff}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{206f}' | '\u{3099}' | '\u{309a}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe2f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{30000}'..);
    !is_unwanted
        && !character.is_numeric()
        && !is_currency(*character)
        && !is_emoji(*character)
        && !matches!(character, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1fbff}')
}

/// Letters, and anything else outside of ASCII that is no punctuation: taken for part of a word when in doubt.
fn is_in_word(character: &char) -> bool {
    character.is_alphabetic()
        || !matches!(character, '\u{80}'..='\u{bf}' | '\u{d7}' | '\u{f7}' | '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff0f}')
}

/// Texts that may stand in a caption although their characters may not: numbers, and what is required as it is.
fn atoms(rules: &CaptionRules, notation: Notation) -> Vec<String> {
    let is_common = |character: char| match notation {
        Notation::Words => {
            character.is_ascii_alphabetic()
                || " !\"&'()*+,-./:;=?".contains(character)
                || (!character.is_ascii() && is_usable(&character))
        }
        Notation::Json => character.is_ascii_alphabetic() || " !&'()*+,-./:;=?".contains(character),
    };
    let required = rules.required.iter().flat_map(|required| &required.alternatives);
    let unusual = required.filter(|text| !text.chars().all(is_common));
    let mut atoms: Vec<String> =
        rules.numbers.iter().chain(unusual).filter(|text| !text.is_empty()).cloned().collect();
    atoms.sort_unstable();
    atoms.dedup();
    atoms
}

/// Banned words as whole words, and two blanks in a row.
fn forbidden(rules: &CaptionRules, alphabet: &Alphabet, notation: Notation) -> String {
    let blank = if notation == Notation::Words { " " } else { "" };
    let begins_oddly = |text: &String| !text.starts_with(char::is_alphanumeric);
    let is_odd = rules.required.iter().flat_map(|required| &required.alternatives).any(begins_oddly);
    let no_beginning = if is_odd { " " } else { NO_BEGINNING };
    let mut pattern = format!("FORBIDDEN: /(?s:.*  .*)|{blank}([{no_beginning}](?s:.*))?/");
    let mut terminals = String::new();
    for (index, (left, right)) in
        [(true, true), (true, false), (false, true), (false, false)].into_iter().enumerate()
    {
        let bounds = |word: &String| bounds_of(word, rules) == (left, right);
        let words: Vec<String> =
            rules.banned.iter().filter(|word| bounds(word)).map(|word| escaped(&notation.written(word))).collect();
        if words.is_empty() {
            continue;
        }
        let before = if left { "(ANY EDGE)?" } else { "ANY" };
        let after = if right { "(EDGE ANY)?" } else { "ANY" };
        pattern.push_str(&format!(" | {before} BANNED{index} {after}"));
        terminals.push_str(&format!("BANNED{index}: /(?i:{})/\n", words.join("|")));
    }
    if !terminals.is_empty() {
        let word = &alphabet.word;
        terminals.push_str(&match notation {
            Notation::Words => format!("ANY: /(?s:.*)/\nEDGE: /(?s:[^{word}])/\n"),
            Notation::Json => format!("ANY: /(?s:\\x5c.|[^\\x5c])*/\nEDGE: /(?s:\\x5c.|[^{word}\\x5c])/\n"),
        });
    }
    format!("{pattern}\n{terminals}")
}

/// Must the character before or after a banned word be looked at? Not after several words: a lexicon may know no way
/// on from the last of them, and then it is better not to begin it.
fn bounds_of(word: &str, rules: &CaptionRules) -> (bool, bool) {
    let (left, right) = needs_bounds(word);
    let required = || rules.required.iter().flat_map(|required| &required.alternatives);
    let is_begun_for_nothing = word.contains(' ') && !required().any(|text| fold_case(text).contains(word));
    (left, right && !is_begun_for_nothing)
}

/// The same, as far as its letters say: not beside a mark, nor where words have no spaces.
fn needs_bounds(word: &str) -> (bool, bool) {
    let needs = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() && !is_unspaced(character))
    };
    (needs(word.chars().next()), needs(word.chars().next_back()))
}
