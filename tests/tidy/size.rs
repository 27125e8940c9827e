//! How long functions and files may be.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::sources::{RustFile, TextFile};

const FUNCTION_LINES_MAX: usize = 70;
const FUNCTION_LINES_MEDIAN_MAX: usize = 15;
const FILE_LINES_MAX: usize = 600;
const FILE_LINES_MEDIAN_MAX: usize = 150;
const PARAMETERS_MAX: usize = 5;
const LANGUAGES: [&str; 4] = [".rs", ".py", ".mjs", ".wgsl"];

struct Function {
    name: String,
    span: proc_macro2::Span,
    lines: usize,
    parameters: usize,
}

/// Long functions and long parameter lists of one file.
pub(crate) fn complaints(file: &RustFile) -> Vec<String> {
    let mut complaints = Vec::new();
    for function in functions(file) {
        let (place, name) = (file.place(function.span), &function.name);
        if function.lines > FUNCTION_LINES_MAX {
            let lines = function.lines;
            complaints.push(format!(
                "{place}: {name} has {lines} lines; split it into parts of at most {FUNCTION_LINES_MAX}"
            ));
        }
        if function.parameters > PARAMETERS_MAX {
            let count = function.parameters;
            complaints.push(format!(
                "{place}: {name} takes {count} parameters; group them in a struct, {PARAMETERS_MAX} at most"
            ));
        }
    }
    complaints
}

/// A source of any language that is too long.
pub(crate) fn long_file(file: &TextFile) -> Option<String> {
    let is_source = LANGUAGES.iter().any(|ending| file.path.ends_with(ending));
    let lines = file.content.lines().count();
    (is_source && lines > FILE_LINES_MAX).then(|| {
        format!(
            "{}:{lines}: the file is too long; split it into files of at most {FILE_LINES_MAX} lines",
            file.path
        )
    })
}

/// What most of the house looks like.
pub(crate) fn median_complaints(files: &[RustFile]) -> Vec<String> {
    let functions = median(files.iter().flat_map(functions).map(|function| function.lines).collect());
    let lines = median(files.iter().map(|file| file.lines).collect());
    let mut complaints = Vec::new();
    if functions > FUNCTION_LINES_MEDIAN_MAX {
        complaints.push(format!(
            "the median function has {functions} lines; keep it at {FUNCTION_LINES_MEDIAN_MAX} or less"
        ));
    }
    if lines > FILE_LINES_MEDIAN_MAX {
        complaints.push(format!("the median file has {lines} lines; keep it at {FILE_LINES_MEDIAN_MAX} or less"));
    }
    complaints
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn functions(file: &RustFile) -> Vec<Function> {
    let mut functions = Functions(Vec::new());
    functions.visit_file(&file.syntax);
    functions.0
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.span().end().line + 1 - signature.span().start().line;
        let (name, span) = (signature.ident.to_string(), signature.ident.span());
        self.0.push(Function { name, span, lines, parameters: signature.inputs.len() });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_long_function_is_noticed() {
        let body = "    step();\n".repeat(FUNCTION_LINES_MAX - 2);
        let fits = sample("a.rs", &format!("fn run() {{\n{body}}}\n"));
        assert!(complaints(&RustFile::parse(&fits)).is_empty());
        let long = sample("a.rs", &format!("\nimpl A {{\nfn run() {{\n{body}    step();\n}}\n}}\n"));
        let complaints = complaints(&RustFile::parse(&long));
        assert_eq!(complaints, ["a.rs:3: run has 71 lines; split it into parts of at most 70"]);
    }

    #[test]
    fn a_sixth_parameter_is_noticed() {
        let file = sample("a.rs", "trait A { fn run(&self, b: u8, c: u8, d: u8, e: u8, f: u8) {} }");
        assert_eq!(complaints(&RustFile::parse(&file)).len(), 1);
    }

    #[test]
    fn a_long_file_is_noticed_in_every_language() {
        assert!(long_file(&sample("a.py", &"x\n".repeat(FILE_LINES_MAX))).is_none());
        assert!(long_file(&sample("a.py", &"x\n".repeat(FILE_LINES_MAX + 1))).is_some());
        assert!(long_file(&sample("a.json", &"x\n".repeat(FILE_LINES_MAX + 1))).is_none());
    }

    #[test]
    fn medians_are_over_all_files() {
        let long = sample("a.rs", &format!("fn run() {{\n{}}}\n", "    step();\n".repeat(200)));
        assert_eq!(median_complaints(&[RustFile::parse(&long)]).len(), 2);
        assert!(median_complaints(&[RustFile::parse(&sample("a.rs", "fn run() {}\n"))]).is_empty());
    }
}
