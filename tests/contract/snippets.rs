//! The snippets of docs/CLIENTS.md, as they stand there.

use std::fs;

use lede_tests::{API_KEY, Edge, Origin, in_repository, repository_root};

use crate::succeed;

/// Language, code and the heading above it.
struct Snippet {
    language: String,
    code: String,
    heading: String,
}

fn snippets() -> Vec<Snippet> {
    let document = fs::read_to_string(repository_root().join("docs/CLIENTS.md")).unwrap();
    let mut snippets = Vec::new();
    let (mut heading, mut open) = (String::new(), None::<Snippet>);
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, heading) = (language.to_owned(), heading.clone());
                open = Some(Snippet { language, code: String::new(), heading });
            }
            (Some(_), Some(_)) => snippets.extend(open.take()),
            (Some(snippet), None) => snippet.code.extend([line, "\n"]),
            (None, None) => heading = line.strip_prefix("## ").map_or(heading, str::to_owned),
        }
    }
    snippets
}

/// What a person who runs it sees.
fn run(snippet: &Snippet, url: &str) -> String {
    let (program, arguments) = match snippet.language.as_str() {
        "sh" => ("bash", vec!["-euc", &snippet.code]),
        "js" => ("node", vec!["--input-type=module", "--eval", &snippet.code]),
        "python" => ("python3", vec!["-c", &snippet.code]),
        other => unreachable!("no snippet is in {other}"),
    };
    succeed(in_repository(program, "tests", &arguments).env("LEDE_URL", url).env("LEDE_API_KEY", API_KEY))
}

#[tokio::test]
async fn every_snippet_of_the_documentation_runs_as_it_stands_there() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let snippets = snippets();
    assert_eq!(snippets.len(), 13);
    for snippet in snippets {
        let told = run(&snippet, &edge.url);
        let expected = match snippet.heading.as_str() {
            "One caption" => "#",
            "As it is written" if snippet.language == "sh" => "event: done",
            "As it is written" => "dog",
            "Many at once" => "1",
            "When it does not work" => "/variants",
            _ => "",
        };
        assert!(told.contains(expected), "{} in {}: {told}", snippet.heading, snippet.language);
    }
}
