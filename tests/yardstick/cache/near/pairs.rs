//! The committed pairs.

use lede_shared::api::LanguageTag;
use lede_shared::api::text::normalise;
use lede_tests::repository_root;

/// Two descriptions in one language.
pub(super) struct Pair {
    kind: String,
    pub(super) language: LanguageTag,
    pub(super) texts: [String; 2],
}

impl Pair {
    fn read(line: &str) -> Self {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().expect("a pair has four fields");
        let (kind, language) = (next(), LanguageTag::parse(&next()).expect("a language"));
        Self { kind, language, texts: [normalise(&next()), normalise(&next())] }
    }

    /// Could only somebody who understands the texts tell that they are the same?
    pub(super) fn is_hard(&self) -> bool {
        self.kind.starts_with("hard: ")
    }
}

/// One half of the pairs.
pub(super) struct Half {
    /// Those that must not share an answer.
    pub(super) different: Vec<Pair>,
    /// Those that could.
    pub(super) same: Vec<Pair>,
}

impl Half {
    pub(super) fn read(name: &str) -> Self {
        let pairs = |kind: &str| {
            let path = repository_root().join(format!("tests/fixtures/near_duplicates/{kind}.{name}.tsv"));
            let text = std::fs::read_to_string(path).expect("the pairs can be read");
            text.lines().map(Pair::read).collect()
        };
        Self { different: pairs("different"), same: pairs("same") }
    }
}
