//! What a person said of the samples: kept as long as they are the same samples.

use std::fmt::Write as _;

use super::judging::Answered;
use super::report::SAMPLES;

const BEGIN: &str = "<!-- verdicts: begin -->";
const END: &str = "<!-- verdicts: end -->";

/// The section of the file as it was, when the same samples stand in it.
pub(super) fn kept(present: &str, samples: &str) -> Option<String> {
    if !present.contains(samples) {
        return None;
    }
    let begin = present.find(BEGIN)?;
    let end = begin + present[begin..].find(END)?;
    Some(format!("{}{END}\n", &present[begin..end]))
}

/// A row for each sample, to be filled in.
pub(super) fn blank(answered: &[Answered]) -> String {
    let mut text = format!(
        "{BEGIN}\n## Verdicts\n\nWould a person post the caption without touching it?\n\n| sample | would post | why not \
         |\n|---:|---|---|\n"
    );
    for number in 1..=answered.len().min(SAMPLES) {
        let _ = writeln!(text, "| {number} | | |");
    }
    text.push_str(END);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_stay_with_their_samples() {
        let file = format!("before\nsample a\n{BEGIN}\n| 1 | yes |\n{END}\nbehind\n");
        assert_eq!(kept(&file, "sample a\n").unwrap(), format!("{BEGIN}\n| 1 | yes |\n{END}\n"));
        assert_eq!(kept(&file, "sample b\n"), None);
        assert_eq!(kept("", "sample b\n"), None);
    }

    #[test]
    fn a_file_without_an_end_has_no_verdicts() {
        assert_eq!(kept(&format!("sample\n{BEGIN}\n| 1 | yes |\n"), "sample\n"), None);
    }
}
