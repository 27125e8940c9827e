//! What the edge serves of the documentation: the description of the API, made from the types, and a page of it for
//! people, with the snippets of `docs/CLIENTS.md`. Both are committed, and a test holds them to their sources.

mod description;
mod page;
mod schema;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lede_shared::openapi::{Side, document};

use crate::progress;
use crate::workspace::Workspace;

const FOLDER: &str = "edge/assets";
const SNIPPETS: &str = "docs/CLIENTS.md";

/// Writes both files.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for (name, content) in files(&workspace.root)? {
        let path = workspace.root.join(FOLDER).join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        progress::note(&workspace.shown(&path));
    }
    Ok(())
}

/// Names and contents.
fn files(root: &Path) -> Result<[(&'static str, String); 2]> {
    let snippets = fs::read_to_string(root.join(SNIPPETS)).with_context(|| format!("cannot read {SNIPPETS}"))?;
    let json = document(Side::Edge);
    let page =
        page::render(&serde_json::from_str(&json).context("the description is not as expected")?, &snippets);
    Ok([("openapi.json", json), ("docs.html", page)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_edge_serves_is_what_the_types_and_the_snippets_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (name, content) in files(root).unwrap() {
            let path = root.join(FOLDER).join(name);
            if std::env::var_os("LEDE_BLESS").is_some() {
                fs::write(&path, &content).unwrap();
            }
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == content, "{FOLDER}/{name} is out of date: cargo xtask docs");
        }
    }
}
