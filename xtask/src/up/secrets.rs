//! The keys of a development set-up: made at random on the first run, kept in `.lede/` for the next ones.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::progress;
use crate::workspace::Workspace;

const SECRET_BYTES: usize = 32;
const KEYS_FILE: &str = "keys.toml";
/// The tenant of the API key, and the id of the signing key.
const NAME: &str = "development";

/// What `up` gives both sides. The origin gets the API key's hash, in its file of keys, and the edge asks there.
#[derive(Serialize, Deserialize)]
pub(crate) struct DevelopmentSecrets {
    pub(crate) api_key: String,
    signing_key_hex: String,
}

impl DevelopmentSecrets {
    /// Reads them, or makes them on the first run; also writes the origin's file of keys, and `.dev.vars`, where wrangler
    /// looks for secrets.
    pub(crate) fn load_or_make(workspace: &Workspace) -> Result<Self> {
        let path = workspace.state().join("development-secrets.json");
        let secrets = if path.is_file() {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is damaged: delete it", path.display()))?
        } else {
            let secrets = Self::random()?;
            fs::create_dir_all(workspace.state()).context("cannot create .lede")?;
            write_private(&path, &serde_json::to_string_pretty(&secrets)?)?;
            secrets
        };
        secrets.tell_origin(&Self::keys_file(workspace))?;
        secrets.tell_wrangler(&workspace.root.join(".dev.vars"))?;
        Ok(secrets)
    }

    /// The origin's file of keys, where further ones may be made with `lede-origin keys create`.
    pub(crate) fn keys_file(workspace: &Workspace) -> PathBuf {
        workspace.state().join(KEYS_FILE)
    }

    /// `id=<hex>`
    pub(crate) fn signing_key(&self) -> String {
        format!("{NAME}={}", self.signing_key_hex)
    }

    fn random() -> Result<Self> {
        let mut bytes = [0; 2 * SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness for the development keys: {error}"))?;
        let (api_key, signing_key) = bytes.split_at(SECRET_BYTES);
        Ok(Self {
            api_key: format!("lede_dev_{}", hex::encode(api_key)),
            signing_key_hex: hex::encode(signing_key),
        })
    }

    /// The development key may do everything. What a person added is left as it is.
    fn tell_origin(&self, path: &Path) -> Result<()> {
        let hash = hex::encode(Sha256::digest(&self.api_key));
        match fs::read_to_string(path) {
            Ok(present) if present.contains(&hash) => Ok(()),
            Ok(_) => {
                progress::note(".lede/keys.toml does not hold the development key and is left as it is");
                Ok(())
            }
            Err(_) => write_private(
                path,
                &format!(
                    "# The keys of the development origin; LEDE_KEYS_FILE=.lede/{KEYS_FILE} lede-origin keys … edits them.\n\
                     [[keys]]\nhash = \"{hash}\"\ntenant = \"{NAME}\"\nscopes = [\"captions\", \"admin\"]\n\
                     created_ms = 0\n"
                ),
            ),
        }
    }

    /// A file that a person wrote is left as it is, but mentioned. So is one with keys of its own: the edge would go by
    /// those and not ask the origin.
    fn tell_wrangler(&self, path: &Path) -> Result<()> {
        let vars = format!("EDGE_SIGNING_KEY=\"{}\"\n", self.signing_key());
        match fs::read_to_string(path) {
            Ok(present) if present.contains("API_KEY_HASHES") => {
                progress::note(".dev.vars names API keys of its own; without that line the edge asks the origin");
                Ok(())
            }
            Ok(present) if present.contains(vars.trim_end()) => Ok(()),
            Ok(_) => {
                progress::note(
                    ".dev.vars holds other keys than .lede/development-secrets.json and is left as it is",
                );
                Ok(())
            }
            Err(_) => write_private(path, &vars),
        }
    }
}

/// Readable by its owner only, from the first byte on.
fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn workspace(folder: &Path) -> Workspace {
        Workspace { root: folder.to_owned(), target: folder.join("target"), cache: folder.join("cache") }
    }

    #[test]
    fn the_keys_of_the_first_run_are_those_of_the_second() {
        let folder = tempfile::tempdir().unwrap();
        let first = DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        let second = DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        assert!(first.api_key.starts_with("lede_dev_") && first.api_key == second.api_key);
        assert_eq!(first.signing_key(), second.signing_key());
    }

    #[test]
    fn only_the_owner_can_read_the_keys_and_wrangler_gets_no_api_key() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        for file in [".lede/development-secrets.json", ".lede/keys.toml", ".dev.vars"] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let services_see =
            [".lede/keys.toml", ".dev.vars"].map(|file| fs::read_to_string(folder.path().join(file)).unwrap());
        assert!(services_see.iter().all(|text| !text.contains(&secrets.api_key)));
    }

    #[test]
    fn the_development_key_may_do_everything_and_further_keys_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        let path = folder.path().join(".lede/keys.toml");
        let made = fs::read_to_string(&path).unwrap();
        assert!(made.contains("scopes = [\"captions\", \"admin\"]"), "{made}");
        let more = format!("{made}[[keys]]\n");
        fs::write(&path, &more).unwrap();
        DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), more);
    }

    #[test]
    fn a_persons_own_dev_vars_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".dev.vars"), "MINE=\"1\"\n").unwrap();
        DevelopmentSecrets::load_or_make(&workspace(folder.path())).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(".dev.vars")).unwrap(), "MINE=\"1\"\n");
    }
}
