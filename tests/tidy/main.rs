//! The house's style numbers and borders, kept by a test (docs/ARCHITECTURE.md has the reasons).
//!
//! Each rule returns complaints of the form `file:line: what is wrong; what to do`.

mod borders;
mod names;
mod size;
mod sources;
mod text;

use crate::sources::{Sources, TextFile};

/// Fails with every complaint at once.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn functions_and_files_stay_small() {
    let sources = Sources::of_the_repository();
    none(&sources.rust.iter().flat_map(size::complaints).collect::<Vec<_>>());
    none(&sources.text.iter().flat_map(size::long_file).collect::<Vec<_>>());
}

#[test]
fn the_median_function_and_file_are_short() {
    none(&size::median_complaints(&Sources::of_the_repository().rust));
}

#[test]
fn nothing_has_a_name_that_says_nothing() {
    none(&Sources::of_the_repository().rust.iter().flat_map(names::complaints).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_unimplemented() {
    none(&Sources::of_the_repository().rust.iter().flat_map(names::unfinished).collect::<Vec<_>>());
}

#[test]
fn status_codes_stay_at_the_origins_http_border() {
    none(&Sources::of_the_repository().rust.iter().flat_map(borders::status_codes).collect::<Vec<_>>());
}

#[test]
fn shared_has_no_io_no_async_and_no_clock() {
    none(&Sources::of_the_repository().rust.iter().flat_map(borders::impure).collect::<Vec<_>>());
}

#[test]
fn edge_and_origin_meet_only_over_http() {
    none(&borders::wrong_dependencies(&Sources::of_the_repository().text));
}

#[test]
fn no_file_names_a_machine_or_a_registry_host() {
    none(&Sources::of_the_repository().text.iter().flat_map(text::complaints).collect::<Vec<_>>());
}

/// A file as the rules see it, for their own tests.
fn sample(path: &str, content: &str) -> TextFile {
    TextFile { path: path.to_owned(), content: content.to_owned() }
}
