//! What may be named where.

use syn::visit::{self, Visit};

use crate::sources::{Paths, RustFile, TextFile};

/// The rooms of the origin that speak HTTP.
const HTTP_ROOMS: [&str; 3] = ["routes", "error", "middleware"];
/// What `shared` must not reach for: time and entropy are its arguments, and it waits for nothing.
const IMPURE: [&str; 8] =
    ["std::time", "std::net", "std::fs", "std::thread", "std::process", "std::env", "std::io", "rand"];
/// Manifest, and what it must not depend on.
const APART: [(&str, &[&str]); 3] = [
    ("edge/Cargo.toml", &["lede-origin", "tokio", "axum"]),
    ("origin/Cargo.toml", &["lede-edge", "worker"]),
    ("shared/Cargo.toml", &["lede-edge", "lede-origin", "tokio", "rand", "getrandom", "worker", "futures-util"]),
];

/// `StatusCode` in the origin outside [`HTTP_ROOMS`]; its tests may look at one.
pub(crate) fn status_codes(file: &RustFile) -> Vec<String> {
    let Some(inside) = file.path.strip_prefix("origin/src/") else { return Vec::new() };
    if inside.trim_end_matches(".rs").split('/').any(|room| HTTP_ROOMS.contains(&room)) {
        return Vec::new();
    }
    let paths = Paths::of(&file.without_tests()).into_iter();
    let found = paths.filter(|(path, _)| path.split("::").any(|segment| segment == "StatusCode"));
    let advice = "is only for routes, error and middleware; return an error that they translate";
    found.map(|(_, span)| format!("{}: StatusCode {advice}", file.place(span))).collect()
}

/// I/O, clocks, threads, randomness and `async` in `shared`; its tests may read the golden files.
pub(crate) fn impure(file: &RustFile) -> Vec<String> {
    if !file.path.starts_with("shared/src/") {
        return Vec::new();
    }
    let syntax = file.without_tests();
    let paths = Paths::of(&syntax).into_iter();
    let named = paths.filter(|(path, _)| {
        IMPURE.iter().any(|impure| path == impure || path.starts_with(&format!("{impure}::")))
    });
    let mut complaints: Vec<String> = named
        .map(|(path, span)| {
            format!("{}: shared is pure and must not name {path}; take it as an argument", file.place(span))
        })
        .collect();
    let mut waits = Waits::default();
    waits.visit_file(&syntax);
    complaints
        .extend(waits.0.iter().map(|span| format!("{}: shared is pure and must not be async", file.place(*span))));
    complaints
}

/// Dependencies that would let edge and origin meet otherwise than over HTTP, or make `shared` more than a contract.
pub(crate) fn wrong_dependencies(files: &[TextFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (manifest, banned) in APART {
        let Some(file) = files.iter().find(|file| file.path == manifest) else {
            complaints.push(format!("{manifest} is missing"));
            continue;
        };
        for (index, line) in file.content.lines().enumerate() {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if banned.contains(&name) {
                complaints.push(format!(
                    "{manifest}:{}: must not depend on {name}; see docs/ARCHITECTURE.md",
                    index + 1
                ));
            }
        }
    }
    complaints
}

/// Every `async` and `.await`.
#[derive(Default)]
struct Waits(Vec<proc_macro2::Span>);

impl<'ast> Visit<'ast> for Waits {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.0.extend(signature.asyncness.map(|keyword| keyword.span));
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.0.push(block.async_token.span);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.0.push(expression.await_token.span);
        visit::visit_expr_await(self, expression);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn parsed(path: &str, content: &str) -> RustFile {
        RustFile::parse(&sample(path, content))
    }

    #[test]
    fn a_status_code_outside_the_http_rooms_is_noticed() {
        let source = "use axum::http::StatusCode;\nfn f() -> StatusCode { StatusCode::OK }";
        assert_eq!(status_codes(&parsed("origin/src/cache/hot.rs", source)).len(), 3);
        for allowed in
            ["origin/src/error.rs", "origin/src/routes/info.rs", "origin/src/middleware.rs", "edge/src/a.rs"]
        {
            assert!(status_codes(&parsed(allowed, source)).is_empty(), "{allowed}");
        }
        let in_tests = format!("#[cfg(test)]\nmod tests {{ {source} }}");
        assert!(status_codes(&parsed("origin/src/app.rs", &in_tests)).is_empty());
    }

    #[test]
    fn io_clocks_and_async_in_shared_are_noticed() {
        for bad in [
            "use std::{fmt, time::Instant};",
            "fn f() { std::fs::read(\"a\"); }",
            "use std::net::*;",
            "async fn f() {}",
            "fn f() { async {}; }",
            "fn f() -> u64 { rand::random() }",
        ] {
            assert!(!impure(&parsed("shared/src/a.rs", bad)).is_empty(), "{bad}");
            assert!(impure(&parsed("origin/src/a.rs", bad)).is_empty(), "{bad}");
        }
        assert!(
            impure(&parsed("shared/src/a.rs", "use std::fmt;\n#[cfg(test)]\nmod tests { use std::fs; }"))
                .is_empty()
        );
    }

    #[test]
    fn a_dependency_across_the_border_is_noticed() {
        let manifests = |edge: &str| {
            let empty = ["origin/Cargo.toml", "shared/Cargo.toml"].map(|path| sample(path, ""));
            empty.into_iter().chain([sample("edge/Cargo.toml", edge)]).collect::<Vec<_>>()
        };
        assert!(wrong_dependencies(&manifests("[dependencies]\nworker.workspace = true\n")).is_empty());
        let wrong = wrong_dependencies(&manifests("[dependencies]\nlede-origin = { path = \"../origin\" }\n"));
        assert_eq!(wrong, ["edge/Cargo.toml:2: must not depend on lede-origin; see docs/ARCHITECTURE.md"]);
        assert_eq!(wrong_dependencies(&[]).len(), 3);
    }
}
