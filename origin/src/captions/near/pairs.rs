//! The method judged by committed pairs: tuned on one half, judged on the other (tests/fixtures/near_duplicates).
#![expect(clippy::print_stdout, reason = "the figures are for reading")]

use std::collections::BTreeMap;
use std::path::Path;

use lede_shared::api::LanguageTag;
use lede_shared::api::text::normalise;

use super::DescriptionSignature;

/// What may be wrong of a thousand pairs that must not share an answer, at most.
const FALSE_OF_THOUSAND_MAX: usize = 1;
/// What is found of a hundred pairs that could share one, at least, but for those that only a reader could tell.
const FOUND_OF_HUNDRED_MIN: usize = 75;
/// Of these only a reader could tell that they are the same.
const HARD: &str = "hard: ";

/// One line of a file.
struct Pair {
    kind: String,
    language: LanguageTag,
    texts: [String; 2],
}

impl Pair {
    fn read(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, language, one, other] = fields[..] else { panic!("{line} has not four fields") };
        let language = LanguageTag::parse(language).unwrap();
        let texts = [normalise(one), normalise(other)];
        assert_ne!(texts[0], texts[1], "the same text is no near-duplicate");
        Self { kind: kind.to_owned(), language, texts }
    }

    fn shares_an_answer(&self) -> bool {
        let [one, other] = self.texts.each_ref().map(|text| DescriptionSignature::of(text, &self.language));
        one == other
    }
}

fn pairs(name: &str, half: &str) -> Vec<Pair> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/near_duplicates");
    let text = std::fs::read_to_string(folder.join(format!("{name}.{half}.tsv"))).unwrap();
    text.lines().map(Pair::read).collect()
}

/// Pairs that share an answer, and all, of each kind.
fn counted(pairs: &[Pair]) -> BTreeMap<&str, (usize, usize)> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for pair in pairs {
        let (shared, all) = counts.entry(&pair.kind).or_default();
        *shared += usize::from(pair.shares_an_answer());
        *all += 1;
    }
    counts
}

fn summed<'a>(counts: impl IntoIterator<Item = &'a (usize, usize)>) -> (usize, usize) {
    counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
}

#[test]
fn pairs_that_say_different_things_share_no_answer() {
    for half in ["tuning", "held_out"] {
        let pairs = pairs("different", half);
        let shared: Vec<&Pair> = pairs.iter().filter(|pair| pair.shares_an_answer()).collect();
        for pair in &shared {
            println!("{}: {} | {}", pair.kind, pair.texts[0], pair.texts[1]);
        }
        let (shared, all) = (shared.len(), pairs.len());
        println!("{half}: {shared} false hits in {all} pairs");
        assert!(all >= 2_000 && shared * 1_000 <= all * FALSE_OF_THOUSAND_MAX, "{half}: {shared} of {all}");
    }
}

#[test]
fn most_pairs_that_say_the_same_share_an_answer() {
    for half in ["tuning", "held_out"] {
        let pairs = pairs("same", half);
        let counts = counted(&pairs);
        let plain = counts.iter().filter(|(kind, _)| !kind.starts_with(HARD)).map(|(_, count)| count);
        let ((found, all), (found_of_any, any)) = (summed(plain), summed(counts.values()));
        println!(
            "{half}: {found} of {all} pairs are found, {found_of_any} of {any} with the hard ones; {counts:?}"
        );
        assert!(all >= 600 && found * 100 >= all * FOUND_OF_HUNDRED_MIN, "{half}: {found} of {all}");
    }
}
