//! Names that say nothing, or mean two things here (see the glossary), and work left undone.

use syn::visit::{self, Visit};

use crate::sources::RustFile;

/// Folders, files and modules.
const ROOMS: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"];
/// Variables, fields, functions, modules: Workers KV or KV blocks? A text's token or a credential?
const TWO_MEANINGS: [(&str, &str); 2] = [
    ("kv", "say workers_kv (the store) or kv_blocks (attention)"),
    ("token", "say prompt_token, token_id, api_key, cells or cancel"),
];
const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];

/// Banned names in one file, its own included.
pub(crate) fn complaints(file: &RustFile) -> Vec<String> {
    let mut names = Names::default();
    names.visit_file(&file.syntax);
    let rooms = file.path.trim_end_matches(".rs").split('/').filter(|part| ROOMS.contains(part));
    let mut complaints: Vec<String> =
        rooms.map(|room| format!("{}:1: {room} says nothing; name what it holds", file.path)).collect();
    for (name, span) in names.0 {
        let place = file.place(span);
        if ROOMS.contains(&name.as_str()) {
            complaints.push(format!("{place}: {name} says nothing; name what it holds"));
        }
        if let Some((_, instead)) = TWO_MEANINGS.iter().find(|(banned, _)| *banned == name) {
            complaints.push(format!("{place}: {name} has two meanings; {instead}"));
        }
    }
    complaints
}

/// `todo!()` and `unimplemented!()`.
pub(crate) fn unfinished(file: &RustFile) -> Vec<String> {
    let mut macros = Macros::default();
    macros.visit_file(&file.syntax);
    let unfinished = macros.0.into_iter().filter(|(name, _)| UNFINISHED.contains(&name.as_str()));
    unfinished.map(|(name, span)| format!("{}: {name}! is left; finish it", file.place(span))).collect()
}

/// What this file gives a name to, as opposed to what it uses.
#[derive(Default)]
struct Names(Vec<(String, proc_macro2::Span)>);

impl Names {
    fn add(&mut self, ident: &syn::Ident) {
        self.0.push((ident.to_string(), ident.span()));
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.add(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|ident| self.add(ident));
        visit::visit_field(self, field);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.add(&signature.ident);
        visit::visit_signature(self, signature);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.add(&module.ident);
        visit::visit_item_mod(self, module);
    }
}

#[derive(Default)]
struct Macros(Vec<(String, proc_macro2::Span)>);

impl<'ast> Visit<'ast> for Macros {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last() {
            self.0.push((name.ident.to_string(), name.ident.span()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn complaints_of(path: &str, content: &str) -> Vec<String> {
        complaints(&RustFile::parse(&sample(path, content)))
    }

    #[test]
    fn a_room_without_a_meaning_is_noticed() {
        assert_eq!(complaints_of("edge/src/utils.rs", "").len(), 1);
        assert_eq!(complaints_of("edge/src/helpers/body.rs", "").len(), 1);
        assert_eq!(
            complaints_of("edge/src/lib.rs", "\nmod manager;"),
            ["edge/src/lib.rs:2: manager says nothing; name what it holds"]
        );
    }

    #[test]
    fn a_name_with_two_meanings_is_noticed_where_it_is_given() {
        for bad in ["fn f(kv: u8) {}", "struct A { token: u8 }", "fn token() {}", "fn f() { let kv = 1; }"] {
            assert_eq!(complaints_of("a.rs", bad).len(), 1, "{bad}");
        }
        assert!(complaints_of("a.rs", "use worker::kv::KvStore; fn f(prompt_token: u8) {}").is_empty());
    }

    #[test]
    fn work_left_undone_is_noticed() {
        let file = RustFile::parse(&sample("a.rs", "fn f() {\n    todo!()\n}\nfn g() { std::unimplemented!() }"));
        assert_eq!(unfinished(&file).len(), 2);
    }
}
