//! Texts of people and models inside Markdown.

/// A text as it is, on one line, between quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("“{}”", escaped(text))
}

/// On one line, with nothing in it that Markdown would read.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str(" ⏎ "),
            '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '|' | '~' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_caption_is_markup() {
        assert_eq!(quoted("a|b *c*\n_d_"), "“a\\|b \\*c\\* ⏎ \\_d\\_”");
    }
}
