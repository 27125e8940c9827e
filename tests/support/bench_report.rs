//! Tables of measurements go into a page, each between two comments.

use std::path::Path;

const END: &str = "<!-- to here -->\n";

/// Replaces what the page at `path` has for `cargo xtask bench <name>`.
///
/// # Panics
/// When the page has no place for it or cannot be written.
pub fn write_section(path: &Path, name: &str, table: &str) {
    let begin = format!("<!-- cargo xtask bench {name} writes from here -->\n");
    let page = std::fs::read_to_string(path).expect("the page can be read");
    let (before, rest) = page.split_once(&begin).expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table's place has an end");
    std::fs::write(path, format!("{before}{begin}{table}{END}{after}")).expect("the page can be written");
}
