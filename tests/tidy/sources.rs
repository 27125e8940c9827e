//! The files that the rules look at: those git tracks, or would.
#![expect(clippy::expect_used, clippy::panic, reason = "a rule that cannot read the sources has failed")]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use syn::visit::{self, Visit};

/// A file that is text; its path is relative to the repository.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) content: String,
}

/// A parsed Rust source.
pub(crate) struct RustFile {
    pub(crate) path: String,
    pub(crate) lines: usize,
    pub(crate) syntax: syn::File,
}

/// Everything.
pub(crate) struct Sources {
    pub(crate) text: Vec<TextFile>,
    pub(crate) rust: Vec<RustFile>,
}

impl Sources {
    /// Reads the files once for all rules of one process.
    pub(crate) fn of_the_repository() -> Self {
        let text: Vec<TextFile> = listed().iter().filter_map(|path| read(path)).collect();
        let rust = text.iter().filter(|file| file.path.ends_with(".rs")).map(RustFile::parse).collect();
        Self { text, rust }
    }
}

impl RustFile {
    pub(crate) fn parse(file: &TextFile) -> Self {
        let syntax = syn::parse_file(&file.content).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        Self { path: file.path.clone(), lines: file.content.lines().count(), syntax }
    }

    /// `file:line` of something in it.
    pub(crate) fn place(&self, span: proc_macro2::Span) -> String {
        format!("{}:{}", self.path, span.start().line)
    }

    /// The file without what is compiled for tests only.
    pub(crate) fn without_tests(&self) -> syn::File {
        let items = self.syntax.items.iter().filter(|item| !is_for_tests(item)).cloned().collect();
        syn::File { shebang: None, attrs: Vec::new(), items }
    }
}

/// True for `#[cfg(test)] mod …` and for `#[test] fn …`.
fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(module) => &module.attrs,
        syn::Item::Fn(function) => &function.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test")))
    })
}

/// Every path of a file as text (`std::time::Instant`), with where it is, whether in a `use` or in an expression.
#[derive(Default)]
pub(crate) struct Paths(pub(crate) Vec<(String, proc_macro2::Span)>);

impl Paths {
    pub(crate) fn of(syntax: &syn::File) -> Vec<(String, proc_macro2::Span)> {
        let mut paths = Self::default();
        paths.visit_file(syntax);
        paths.0
    }

    fn add_use(&mut self, before: &str, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.add_use(&format!("{before}{}::", path.ident), &path.tree),
            syn::UseTree::Name(name) => self.0.push((format!("{before}{}", name.ident), name.ident.span())),
            syn::UseTree::Rename(name) => self.0.push((format!("{before}{}", name.ident), name.ident.span())),
            syn::UseTree::Glob(glob) => self.0.push((format!("{before}*"), glob.star_token.spans[0])),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.0.push((segments.join("::"), first.ident.span()));
        }
        visit::visit_path(self, path);
    }
}

/// Paths from git; also of files that are not added yet, so that the rules hold before a commit.
fn listed() -> &'static [String] {
    static LISTED: OnceLock<Vec<String>> = OnceLock::new();
    LISTED.get_or_init(|| {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
        let output = git.output().expect("git lists the files");
        assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
        let paths = String::from_utf8(output.stdout).expect("paths are UTF-8");
        paths.split_terminator('\0').map(str::to_owned).collect()
    })
}

/// `None` for what is not text, and for what was deleted but not committed.
fn read(path: &str) -> Option<TextFile> {
    let content = String::from_utf8(std::fs::read(root().join(path)).ok()?).ok()?;
    Some(TextFile { path: path.to_owned(), content })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository")
}
