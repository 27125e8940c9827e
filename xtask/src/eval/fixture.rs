//! The descriptions of the evaluation: `tests/fixtures/eval/descriptions.tsv`.

use anyhow::{Context, Result, bail};
use lede_shared::api::Style;

/// Where they lie in the repository.
pub(super) const PATH: &str = "tests/fixtures/eval/descriptions.tsv";
/// What a hashtag may be about besides the description's own words: at most so many words.
const TOPICS_MAX: usize = 4;

/// One post that a person wants a caption for.
#[derive(Clone, Debug)]
pub(super) struct Description {
    /// In the file, from 1; also the seed of its captions.
    pub(super) line: u64,
    pub(super) style: Style,
    /// As it was typed.
    pub(super) text: String,
    /// Lower-case words that a relevant hashtag could be about.
    pub(super) topics: Vec<String>,
}

/// Reads `style <tab> description <tab> topic words`; lines that begin with `#` and a blank are comments.
///
/// # Errors
/// When a line has another shape; the error names it.
pub(super) fn parse(content: &str) -> Result<Vec<Description>> {
    let numbered = (1..).zip(content.lines()).filter(|(_, line)| !line.starts_with("# "));
    numbered.map(|(number, line)| description(number, line).with_context(|| format!("{PATH}:{number}"))).collect()
}

fn description(line: u64, content: &str) -> Result<Description> {
    let [style, text, topics] = content.split('\t').collect::<Vec<_>>()[..] else {
        bail!("a line has three columns: style, description, topic words");
    };
    let style = style.parse::<Style>().with_context(|| format!("{style} is no style"))?;
    let topics: Vec<String> = topics.split_whitespace().map(str::to_owned).collect();
    if text.trim().is_empty() || text.trim() != text {
        bail!("the description is empty or has blanks around it");
    }
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        bail!("there are 1 to {TOPICS_MAX} topic words");
    }
    Ok(Description { line, style, text: text.to_owned(), topics })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn in_repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
    }

    fn committed() -> Vec<Description> {
        parse(&fs::read_to_string(in_repository(PATH)).unwrap()).unwrap()
    }

    /// A description of the corpus as its writer typed it: `{n:word}` stands for the word.
    fn without_slots(text: &str) -> String {
        regex::Regex::new(r"\{.:([^{}]*)\}").unwrap().replace_all(text, "$1").to_lowercase()
    }

    /// What has to differ for two descriptions to count as two: letters and digits, whatever stands between them.
    fn folded(text: &str) -> String {
        text.to_lowercase().chars().filter(|character| character.is_alphanumeric()).collect()
    }

    #[test]
    fn every_style_is_asked_for_at_least_27_times_in_300_descriptions_or_more() {
        let descriptions = committed();
        assert!(descriptions.len() >= 300, "{}", descriptions.len());
        for style in Style::ALL {
            let count = descriptions.iter().filter(|description| description.style == *style).count();
            assert!(count >= 27, "{}: {count}", style.as_str());
        }
    }

    #[test]
    fn any_fifty_neighbours_ask_for_every_style() {
        for neighbours in committed().windows(50) {
            let styles: HashSet<Style> = neighbours.iter().map(|description| description.style).collect();
            assert_eq!(styles.len(), Style::ALL.len(), "from line {}", neighbours[0].line);
        }
    }

    #[test]
    fn no_description_stands_twice() {
        let mut seen = HashSet::new();
        for description in committed() {
            assert!(seen.insert(folded(&description.text)), "line {}", description.line);
        }
    }

    #[test]
    fn no_description_is_one_that_training_reads() {
        let asked: HashSet<String> = committed().iter().map(|description| folded(&description.text)).collect();
        let mut read = 0;
        for entry in fs::read_dir(in_repository("training/corpus/said")).unwrap() {
            for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
                let text = without_slots(line.split(" | ").next().unwrap());
                assert!(!asked.contains(&folded(&text)), "{text}");
                read += 1;
            }
        }
        assert!(read > 1_000, "{read}");
    }

    #[test]
    fn a_line_of_another_shape_is_named() {
        for (wrong, why) in [
            ("casual\tmy dog", "three columns"),
            ("cheerful\tmy dog\tpets", "no style"),
            ("casual\t my dog\tpets", "blanks"),
            ("casual\tmy dog\ta b c d e", "topic words"),
        ] {
            let error = format!("{:#}", parse(&format!("# comment\n{wrong}\n")).unwrap_err());
            assert!(error.contains("descriptions.tsv:2") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn slots_give_way_to_the_word_that_was_written() {
        assert_eq!(without_slots("My {n:dog} in {P:Berlin}"), "my dog in berlin");
    }
}
