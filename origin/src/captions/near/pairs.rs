//! The method judged by committed pairs (tests/fixtures/near_duplicates).

use std::collections::BTreeMap;
use std::path::Path;

use lede_shared::api::LanguageTag;
use lede_shared::api::text::normalise;

use super::DescriptionSignature;

/// One line of a file.
struct Pair {
    kind: String,
    language: LanguageTag,
    texts: [String; 2],
}

fn pairs(name: &str) -> Vec<Pair> {
    let root = std::env::var("NEAR_ROOT").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let path = Path::new(&root).join("../tests/fixtures/near_duplicates").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let pair = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, language, one, other] = fields[..] else { panic!("{line}") };
        let language = LanguageTag::parse(language).unwrap();
        Pair { kind: kind.to_owned(), language, texts: [normalise(one), normalise(other)] }
    };
    text.lines().map(pair).collect()
}

fn shares_an_answer(pair: &Pair) -> bool {
    let [one, other] = pair.texts.each_ref().map(|text| DescriptionSignature::of(text, &pair.language));
    one == other
}

#[test]
fn probe() {
    for half in ["tuning", "held_out"] {
        if half == "held_out" && std::env::var("HELD").is_err() { continue; }
        for name in ["different", "same"] {
            let all = pairs(&format!("{name}.{half}.tsv"));
            let mut by: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
            for pair in &all {
                assert_ne!(pair.texts[0], pair.texts[1], "{}", pair.kind);
                let hit = shares_an_answer(pair);
                let e = by.entry(&pair.kind).or_default();
                e.0 += usize::from(hit);
                e.1 += 1;
                if hit == (name == "different") && half == "tuning" && !pair.kind.starts_with("hard") {
                    println!("{name} {}: {} | {}", pair.kind, pair.texts[0], pair.texts[1]);
                }
            }
            let (h, n) = by.values().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            println!("== {half} {name}: {h} of {n}");
            for (k, (h, n)) in &by { println!("   {k}: {h}/{n}"); }
        }
    }
}
