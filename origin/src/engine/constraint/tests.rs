//! The constraint driven by models that know nothing: whatever they prefer, what is written keeps the rules.

use std::collections::HashSet;

use lede_shared::api::text::{contains_emoji, contains_word, fold_case, is_emoji, normalise};
use lede_shared::policy::utf16_len;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::engine::vocabulary::{Piece, TextPiece};

/// One entry for each byte, then the markers.
const TAG: u32 = 256;
const END: u32 = 257;
/// Room for one hashtag, generously.
const HASHTAG_PIECES: usize = 40;

fn byte_vocabulary() -> Arc<Vocabulary> {
    let bytes = (0..=255u8).map(|byte| Piece::Text(TextPiece::new(&[byte])));
    Arc::new(Vocabulary::new(bytes.chain([Piece::Special, Piece::Special]).collect()))
}

/// The committed model's entries, its markers at the end.
fn committed_vocabulary() -> Arc<Vocabulary> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lede-nano/tokenizer.json");
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let own = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (own, others): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(own);
    let table: std::collections::HashMap<char, u8> =
        own.into_iter().map(|byte| (char::from(byte), byte)).chain(('\u{100}'..).zip(others)).collect();
    let vocabulary = document["model"]["vocab"].as_object().unwrap();
    let texts = vocabulary.keys().filter(|entry| !entry.starts_with("<|"));
    let pieces = texts.map(|entry| {
        let bytes: Vec<u8> = entry.chars().map(|character| table[&character]).collect();
        Piece::Text(TextPiece::new(&bytes))
    });
    Arc::new(Vocabulary::new(pieces.chain([Piece::Special, Piece::Special]).collect()))
}

/// A factory and the entry that ends an answer.
struct Fixture {
    factory: ConstraintFactory,
    vocabulary: Arc<Vocabulary>,
}

impl Fixture {
    fn new(vocabulary: Arc<Vocabulary>, lexicon: Option<Lexicon>) -> Self {
        let entries = vocabulary.entries() as u32;
        let markup = Markup::Tags { tag: entries - 2, end: entries - 1 };
        let factory = ConstraintFactory::new(Arc::clone(&vocabulary), &markup, lexicon).unwrap();
        Self { factory, vocabulary }
    }

    fn json(vocabulary: Arc<Vocabulary>) -> Self {
        let markup = Markup::Json { ends: vec![vocabulary.entries() as u32 - 1] };
        let factory = ConstraintFactory::new(Arc::clone(&vocabulary), &markup, None).unwrap();
        Self { factory, vocabulary }
    }
}

/// What a model without knowledge prefers.
#[derive(Clone, Copy, Debug)]
enum Preference {
    Anything,
    /// Never to end a text.
    GoingOn,
    /// To end every text as soon as it can.
    Leaving,
    /// The last of what it may, which are the rare characters.
    Rare,
    /// What is not a letter.
    Signs,
}

/// One sequence written by a model of that preference.
fn written_by(fixture: &Fixture, rules: &CaptionRules, preference: Preference, seed: u64) -> WrittenCaption {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    let prepared = fixture.factory.prepare(rules.clone()).unwrap();
    let mut constraint = Constraint::new(prepared);
    let mut pieces = 0;
    while !constraint.has_ended() {
        assert!(pieces < rules.completion_pieces_max, "it does not end: {rules:?}");
        constraint.work_out().unwrap();
        if !constraint.held_back().is_empty()
            && matches!(preference, Preference::Leaving)
            && constraint.refuse_leave().unwrap()
        {
            constraint.work_out().unwrap();
        }
        let permitted: Vec<u32> = constraint.permitted().iter().collect();
        assert!(!permitted.is_empty(), "nothing is permitted: {rules:?}");
        let id = prefer(fixture, &permitted, preference, &mut stream);
        constraint.accept(id).unwrap();
        pieces += 1;
    }
    constraint.into_written()
}

fn prefer(fixture: &Fixture, permitted: &[u32], preference: Preference, stream: &mut ChaCha8Rng) -> u32 {
    let text = |id: &u32| fixture.vocabulary.text(*id);
    let ends = |id: &u32| text(id).is_none_or(|piece| piece.bytes.starts_with(b"\""));
    let is_sign = |id: &u32| text(id).is_some_and(|piece| !piece.bytes.iter().any(u8::is_ascii_alphabetic));
    let preferred: Vec<u32> = match preference {
        Preference::Anything => permitted.to_vec(),
        Preference::GoingOn => permitted.iter().copied().filter(|id| !ends(id)).collect(),
        Preference::Leaving => permitted.iter().copied().filter(ends).collect(),
        Preference::Rare => permitted.iter().copied().rev().filter(|id| !ends(id)).take(3).collect(),
        Preference::Signs => permitted.iter().copied().filter(is_sign).collect(),
    };
    let among = if preferred.is_empty() { permitted } else { &preferred };
    among[(stream.next_u64() % among.len() as u64) as usize]
}

fn digit_runs(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_numeric()).filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// Everything that a caption and its hashtags must be, looked at without the constraint's own means.
fn assert_kept(rules: &CaptionRules, written: &WrittenCaption) {
    let WrittenCaption { caption, hashtags, .. } = written;
    let what = format!("{written:?}\n{rules:?}");
    assert!(written.is_complete, "{what}");
    assert!(utf16_len(caption) <= rules.caption_utf16_max, "too long: {what}");
    assert!(!caption.contains('#') && !caption.chars().any(|c| c.is_control() && c != '\n'), "{what}");
    assert!(!caption.is_empty() || rules.caption_utf16_max < 2, "{what}");
    for word in &rules.banned {
        assert!(!contains_word(caption, word), "{word}: {what}");
    }
    assert!(!written.lacks_required, "{what}");
    for required in &rules.required {
        let folded = fold_case(caption);
        let stands = |text: &String| {
            if required.any_case { folded.contains(&fold_case(text)) } else { caption.contains(text.as_str()) }
        };
        assert!(required.alternatives.iter().any(stands), "{required:?}: {what}");
    }
    let texts = rules.numbers.iter().chain(rules.required.iter().flat_map(|required| &required.alternatives));
    let known: HashSet<String> = texts.flat_map(|text| digit_runs(text)).collect();
    assert!(digit_runs(caption).is_subset(&known), "digits: {what}");
    if !rules.required.iter().flat_map(|required| &required.alternatives).any(|text| contains_emoji(text)) {
        let count = emoji_count(caption);
        assert!(
            count <= rules.emoji.max && (count >= rules.emoji.min || rules.caption_utf16_max < 60),
            "{count} emoji: {what}"
        );
    }
    assert_eq!(hashtags.len(), rules.hashtag_count, "{what}");
    assert_eq!(hashtags.iter().collect::<HashSet<_>>().len(), hashtags.len(), "{what}");
    for name in hashtags {
        let is_valid = |c: char| c.is_alphanumeric() && c.to_lowercase().eq([c]);
        assert!(name.chars().all(is_valid) && name.chars().any(char::is_alphabetic), "{name}: {what}");
        assert!((2..=30).contains(&name.chars().count()) && rules.permits_hashtag(name), "{name}: {what}");
        assert!(digit_runs(name).is_subset(&known), "{name}: {what}");
    }
}

fn preference() -> impl Strategy<Value = Preference> {
    prop_oneof![
        Just(Preference::Anything),
        Just(Preference::GoingOn),
        Just(Preference::Leaving),
        Just(Preference::Rare),
        Just(Preference::Signs),
    ]
}

/// A text of the caller's, as validation would let it pass.
fn text() -> impl Strategy<Value = String> {
    let hostile = "[a-zA-Z]{1,8}|\\PC{1,12}|[.*+?()\\[\\]{}|/\\\\^$&~\"'-]{1,10}|[0-9$%.,:/ ]{1,8}|[\u{2728}\u{1f305}\u{fe0f}\u{200d}❤a ]{1,6}";
    hostile.prop_map(|text| normalise(&text).replace('#', "")).prop_filter("empty", |text| {
        let stands_alone =
            |c: char| !matches!(c, '\u{200c}' | '\u{200d}' | '\u{300}'..='\u{36f}' | '\u{e0000}'..='\u{e007f}');
        !text.trim().is_empty()
            && normalise(text) == *text
            && text.starts_with(stands_alone)
            && text.ends_with(stands_alone)
    })
}

prop_compose! {
    fn rules()(
        required in prop::collection::vec(text(), 0..4),
        numbers in prop::collection::vec("[0-9]{1,4}(%|k|[.:][0-9]{2})?|[$€][0-9]{1,3}|[A-Z]{2,5}[0-9]{1,3}", 0..4),
        banned in prop::collection::vec("[a-z]{1,6}|[a-z]{2,5} [a-z]{2,5}|[a-z]-[a-z]{1,4}|[à-ÿ寿]{1,3}|c\\+\\+|a\\.\\*b", 0..8),
        emoji in prop_oneof![Just((0, 0)), Just((1, 2)), Just((3, 8))],
        hashtag_count in prop_oneof![4 => 0usize..4, 1 => Just(12)],
        spare in 0usize..80,
        any_case in any::<bool>(),
    ) -> CaptionRules {
        let emoji = EmojiRule { min: emoji.0, max: emoji.1 };
        let banned: Vec<String> = banned.iter().map(|word| fold_case(word)).collect();
        let holds_banned = |text: &String| banned.iter().any(|word| contains_word(text, word));
        let wanted = |text: &String| !holds_banned(text) && (emoji.max > 0 || !contains_emoji(text));
        let mut required: Vec<Required> = required.into_iter().filter(wanted).map(Required::exactly).collect();
        if any_case && !holds_banned(&"save".to_owned()) {
            required.push(Required { alternatives: vec!["save".to_owned(), "send this".to_owned()], any_case: true });
        }
        let sources: Vec<String> = required.iter().flat_map(|required| required.alternatives.clone()).collect();
        let needed: usize = sources.iter().map(|text| utf16_len(text) + 2).sum();
        CaptionRules {
            caption_utf16_max: (needed + spare).max(40),
            caption_pieces_max: 160,
            completion_pieces_max: 200 + hashtag_count * HASHTAG_PIECES,
            sources, numbers, required, banned, emoji, hashtag_count,
            style: String::new(),
        }
    }
}

fn lexicon() -> Lexicon {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Lexicon::new(&LexiconFile {
        caption_words: words(
            "a an the sun sunset sea seaside art party cheap is over our slow light by and save i m don t",
        ),
        hashtags: words(
            "sunset sun sea slowliving oceanview light lightroom art seaside goldenhour party saturday",
        ),
        ..LexiconFile::default()
    })
}

fn cases(usual: u32) -> ProptestConfig {
    let more = std::env::var("LEDE_PROPTEST_TIMES").ok().and_then(|times| times.parse::<u32>().ok()).unwrap_or(1);
    ProptestConfig { cases: usual * more, failure_persistence: None, ..ProptestConfig::default() }
}

fn holds_for_random_models(fixture: &Fixture, usual: u32) {
    let mut runner = proptest::test_runner::TestRunner::new(cases(usual));
    let outcome = runner.run(&(rules(), preference(), any::<u64>()), |(rules, preference, seed)| {
        assert_kept(&rules, &written_by(fixture, &rules, preference, seed));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_a_model_of_bytes_prefers_the_rules_are_kept() {
    holds_for_random_models(&Fixture::new(byte_vocabulary(), None), 300);
}

#[test]
fn whatever_a_model_of_bytes_with_a_lexicon_prefers_the_rules_are_kept() {
    holds_for_random_models(&Fixture::new(byte_vocabulary(), Some(lexicon())), 300);
}

#[test]
fn whatever_a_model_of_the_committed_vocabulary_prefers_the_rules_are_kept() {
    holds_for_random_models(&Fixture::new(committed_vocabulary(), Some(lexicon())), 300);
}

#[test]
fn whatever_a_model_prefers_that_writes_json_the_rules_are_kept() {
    holds_for_random_models(&Fixture::json(byte_vocabulary()), 150);
}

#[test]
fn a_model_that_writes_json_writes_what_every_reader_reads_alike() {
    let fixture = Fixture::json(byte_vocabulary());
    for seed in 0..40 {
        let rules = CaptionRules { hashtag_count: seed as usize % 4, ..plain_rules("tea 🍵") };
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        let mut constraint = Constraint::new(fixture.factory.prepare(rules).unwrap());
        let mut raw = Vec::new();
        while !constraint.has_ended() {
            constraint.work_out().unwrap();
            let permitted: Vec<u32> = constraint.permitted().iter().collect();
            let preference = if raw.len() < 40 { Preference::Anything } else { Preference::Leaving };
            let id = prefer(&fixture, &permitted, preference, &mut stream);
            raw.extend(fixture.vocabulary.text(id).into_iter().flat_map(|piece| piece.bytes.iter().copied()));
            constraint.accept(id).unwrap();
        }
        let written = constraint.into_written();
        let read: serde_json::Value = serde_json::from_slice(&raw).unwrap();
        assert_eq!(read["caption"].as_str().map(str::trim), Some(written.caption.as_str()), "{written:?}");
        assert_eq!(read["hashtags"], serde_json::json!(written.hashtags), "{written:?}");
    }
}

fn plain_rules(source: &str) -> CaptionRules {
    CaptionRules {
        sources: vec![source.to_owned()],
        hashtag_count: 3,
        caption_utf16_max: 80,
        caption_pieces_max: 80,
        completion_pieces_max: 400,
        ..CaptionRules::default()
    }
}

#[test]
fn with_a_lexicon_every_word_and_hashtag_is_known_or_the_callers() {
    let fixture = Fixture::new(committed_vocabulary(), Some(lexicon()));
    let rules = CaptionRules {
        banned: vec!["sunset".to_owned(), "party".to_owned()],
        ..plain_rules("Zoë's blorptea in KYOTO")
    };
    let known =
        "a an the sun sea seaside art cheap is over our slow light by and save i m don t zoë s blorptea in kyoto";
    let known: HashSet<&str> = known.split(' ').collect();
    let names = [
        "sun",
        "sea",
        "slowliving",
        "oceanview",
        "light",
        "lightroom",
        "art",
        "seaside",
        "goldenhour",
        "saturday",
    ];
    for seed in 0..60 {
        let preference = [Preference::Anything, Preference::Leaving, Preference::Signs][seed as usize % 3];
        let written = written_by(&fixture, &rules, preference, seed);
        for word in written.caption.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            let is_cut = written.caption_was_cut;
            assert!(known.contains(fold_case(word).as_str()) || is_cut, "{word}: {written:?}");
        }
        for name in &written.hashtags {
            let own = ["zoë", "blorptea", "kyoto", "in"];
            let mut rest = name.as_str();
            while let Some(word) = own.iter().find(|word| rest.starts_with(**word)) {
                rest = &rest[word.len()..];
            }
            assert!(rest.is_empty() || names.contains(&name.as_str()), "{name}: {written:?}");
        }
    }
}

#[test]
fn a_caption_that_lacks_something_cannot_be_left_and_gets_it_when_the_model_insists() {
    let fixture = Fixture::new(byte_vocabulary(), None);
    let rules = CaptionRules {
        required: vec![Required::exactly("20% off")],
        numbers: vec!["20%".to_owned()],
        ..plain_rules("20% off")
    };
    let mut constraint = Constraint::new(fixture.factory.prepare(rules).unwrap());
    for byte in " Fresh bread.".bytes() {
        constraint.work_out().unwrap();
        assert!(constraint.permitted().is_allowed(u32::from(byte)), "{}", char::from(byte));
        assert!(!constraint.permitted().is_allowed(TAG) && !constraint.permitted().is_allowed(END));
        constraint.accept(u32::from(byte)).unwrap();
    }
    constraint.work_out().unwrap();
    assert_eq!(constraint.held_back(), [TAG]);
    assert!(!constraint.refuse_leave().unwrap(), "the model gets another chance");
    assert!(constraint.refuse_leave().unwrap());
    constraint.work_out().unwrap();
    assert_eq!(constraint.permitted().to_list(), [TAG]);
    let written = constraint.into_written();
    assert_eq!((written.caption.as_str(), written.length_forced), ("Fresh bread. 20% off.", true));
}

#[test]
fn emoji_are_put_there_when_the_model_writes_none() {
    for vocabulary in [byte_vocabulary(), committed_vocabulary()] {
        let fixture = Fixture::new(vocabulary, Some(lexicon()));
        let rules = CaptionRules {
            emoji: EmojiRule { min: 3, max: 8 },
            numbers: vec!["0".to_owned()],
            ..plain_rules("sea")
        };
        let mut constraint = Constraint::new(fixture.factory.prepare(rules).unwrap());
        for id in fixture.factory.0.tokens.tok_trie().greedy_tokenize(b" sea?The") {
            constraint.work_out().unwrap();
            assert!(constraint.permitted().is_allowed(id));
            constraint.accept(id).unwrap();
        }
        constraint.work_out().unwrap();
        assert!(!constraint.refuse_leave().unwrap() && constraint.refuse_leave().unwrap());
        assert_eq!(constraint.into_written().caption, "sea?The ✨ ⭐ ❤");
    }
}

#[test]
fn numbers_are_only_those_of_the_request_and_whole() {
    let fixture = Fixture::new(byte_vocabulary(), None);
    let rules = CaptionRules {
        numbers: ["20%", "5", "GLOW40"].map(str::to_owned).to_vec(),
        ..plain_rules("20% off, 5 May, GLOW40")
    };
    let prepared = fixture.factory.prepare(rules).unwrap();
    let accepts = |text: &str| {
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        let mut matcher = prepared.caption_matcher();
        matcher.permits_all(&ids)
            && ids.iter().all(|id| matcher.consume(*id).is_ok())
            && matcher.mask().unwrap().accepting
    };
    for text in [" Now 20% off.", " 5-star", " 20%", " Use GLOW40, 20% off until 5 May!", " (5)", " A5? 5"] {
        assert_eq!(accepts(text), !text.contains("A5"), "{text}");
    }
    for text in
        [" Now 20 off", " 20.5", " 520%", " $5", " 5%", " 55", " GLOW4", " GLOW405", " glow40", " 5k", " 20%5"]
    {
        assert!(!accepts(text), "{text}");
    }
}

#[test]
fn a_name_that_is_used_leads_on_to_others_or_is_made_to_differ() {
    let fixture = Fixture::new(byte_vocabulary(), Some(lexicon()));
    let rules = CaptionRules { hashtag_count: 12, completion_pieces_max: 800, ..plain_rules("sun") };
    for seed in 0..10 {
        let written = written_by(&fixture, &rules, Preference::Anything, seed);
        assert_eq!(written.hashtags.iter().collect::<HashSet<_>>().len(), 12, "{written:?}");
    }
}

#[test]
fn a_name_whose_room_ends_inside_a_number_is_ended_with_letters() {
    let fixture = Fixture::new(byte_vocabulary(), None);
    let rules = CaptionRules {
        numbers: vec!["123456789".to_owned(), "1n2".to_owned()],
        hashtag_count: 6,
        completion_pieces_max: 6 * 8 + 20,
        caption_pieces_max: 10,
        ..plain_rules("123456789")
    };
    for seed in 0..40 {
        let written = written_by(&fixture, &rules, Preference::Signs, seed);
        assert!(written.is_complete, "{written:?}");
    }
}

#[test]
fn a_grammar_that_many_sequences_share_does_not_wear_out() {
    let fixture = Fixture::new(byte_vocabulary(), Some(lexicon()));
    let rules = CaptionRules {
        emoji: EmojiRule { min: 3, max: 8 },
        banned: vec!["link in bio".to_owned()],
        caption_utf16_max: 2_000,
        ..plain_rules("the Biscuit 🔥 LLLL")
    };
    for seed in 0..600 {
        let preference = [Preference::Anything, Preference::Leaving, Preference::Rare][seed as usize % 3];
        let written = written_by(&fixture, &rules, preference, seed);
        assert!(emoji_count(&written.caption) >= 3, "{seed}: {written:?}");
    }
}

#[test]
fn hostile_rules_stay_quick() {
    let fixture = Fixture::new(committed_vocabulary(), Some(lexicon()));
    let emoji: String = ('\u{1f300}'..='\u{1f64f}')
        .chain('\u{1f680}'..='\u{1f6c5}')
        .filter(|c| is_emoji(*c))
        .cycle()
        .take(2_000)
        .collect();
    let rules = CaptionRules {
        sources: vec![emoji, "a".repeat(2_000)],
        numbers: (0..64).map(|number| format!("{number}{}", "9".repeat(30))).collect(),
        required: (0..8)
            .map(|index| Required::exactly(format!("(.*+?[{index}^\\/|{}", "~&".repeat(24))))
            .collect(),
        banned: (0..50).map(|index| format!("{} {index}", ".*(a|b)+".repeat(4))).collect(),
        emoji: EmojiRule { min: 3, max: 8 },
        caption_utf16_max: 700,
        ..plain_rules("")
    };
    let began = std::time::Instant::now();
    let written = written_by(&fixture, &rules, Preference::Anything, 1);
    assert!(!written.lacks_required, "{written:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

/// `cargo test --release -p lede-origin --lib -- --ignored --nocapture constraint_costs`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement is there to be read")]
fn constraint_costs() {
    let fixture = Fixture::new(committed_vocabulary(), Some(lexicon()));
    let rules = |index: usize| CaptionRules {
        numbers: vec!["20%".to_owned(), index.to_string()],
        required: vec![Required::exactly("20%")],
        banned: ["cheap", "bargain", "link in bio", "best ever"].map(str::to_owned).to_vec(),
        hashtag_count: 5,
        ..plain_rules("Fresh sourdough with 20% off at our bakery in Lisbon")
    };
    let began = std::time::Instant::now();
    (0..100).for_each(|index| drop(fixture.factory.prepare(rules(index)).unwrap()));
    println!("a new grammar: {:?}", began.elapsed() / 100);
    let began = std::time::Instant::now();
    (0..100).for_each(|_| drop(fixture.factory.prepare(rules(99)).unwrap()));
    println!("a known grammar: {:?}", began.elapsed() / 100);
    let prepared = fixture.factory.prepare(rules(500)).unwrap();
    for sequence in 0..8 {
        let mut stream = ChaCha8Rng::seed_from_u64(sequence);
        let mut constraint = Constraint::new(Arc::clone(&prepared));
        let (mut spent, mut longest, mut steps) = (std::time::Duration::ZERO, std::time::Duration::ZERO, 0u32);
        while !constraint.has_ended() {
            let began = std::time::Instant::now();
            constraint.work_out().unwrap();
            let mut step = began.elapsed();
            let permitted: Vec<u32> = constraint.permitted().iter().collect();
            let id = prefer(&fixture, &permitted, Preference::Anything, &mut stream);
            let began = std::time::Instant::now();
            constraint.accept(id).unwrap();
            step += began.elapsed();
            (spent, longest, steps) = (spent + step, longest.max(step), steps + 1);
        }
        println!("sequence {sequence}: {steps} steps, mean {:?}, longest {longest:?}", spent / steps);
    }
}
