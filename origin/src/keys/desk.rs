//! Keys are made, listed, revoked and replaced here; the file's own comments and order stay.

use std::path::{Path, PathBuf};

use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::clock::UnixMillis;
use lede_shared::plan::Scope;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::rewriting::rewrite;
use super::{KeySet, KeysError, StoredKey, store};

/// Digits of a hash by which a key is called: enough to tell thousands of keys apart, and nothing to anybody else.
const ID_DIGITS: usize = 12;
/// Fewer are too easily another key's.
const ID_DIGITS_MIN: usize = 8;
const KEY_PREFIX: &str = "lede_";
const KEY_BYTES: usize = 32;

/// What a new key is to be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose key it is.
    pub tenant: TenantId,
    /// What it is let in for.
    pub scopes: Vec<Scope>,
    /// The name of a plan of the file; without it the default plan.
    pub plan: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// A key that was just made. Nobody will see it again.
pub struct NewKey {
    /// By which it is called from now on.
    pub id: String,
    /// The key in the clear.
    pub api_key: String,
}

/// Where keys are looked after.
#[derive(Clone, Debug)]
pub struct KeyDesk {
    path: PathBuf,
}

impl KeyDesk {
    /// For the file at `path`, which need not be there yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The digits by which a key is called.
    #[must_use]
    pub fn id_of(hash: &ApiKeyHash) -> String {
        hash.to_string()[..ID_DIGITS].to_owned()
    }

    /// All keys in the file's order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<StoredKey>, KeysError> {
        Ok(store::read(&self.path)?.keys().to_vec())
    }

    /// Makes a key; the file gets its hash.
    ///
    /// # Errors
    /// When the terms cannot be given or the file cannot be changed.
    pub fn create(&self, terms: &Terms, now: UnixMillis) -> Result<NewKey, KeysError> {
        let (new, hash) = random_key()?;
        rewrite(&self.path, |text| {
            check_plan(&KeySet::parse(text)?, terms.plan.as_deref())?;
            let mut document = parse(text)?;
            tables(&mut document)?.push(terms.table(&hash, now));
            Ok((document.to_string(), ()))
        })?;
        Ok(new)
    }

    /// Stops the key that `id` calls. Returns the whole of what it is called.
    ///
    /// # Errors
    /// When no key or more than one is called so, or it is revoked already.
    pub fn revoke(&self, id: &str, now: UnixMillis) -> Result<String, KeysError> {
        rewrite(&self.path, |text| {
            let keys = KeySet::parse(text)?;
            let (position, hash) = find(&keys, id, now)?;
            let mut document = parse(text)?;
            stop(&mut document, position, now)?;
            Ok((document.to_string(), Self::id_of(&hash)))
        })
    }

    /// Makes a key on the terms of the one that `id` calls, which stops at `old_until`.
    ///
    /// # Errors
    /// Those of [`KeyDesk::revoke`].
    pub fn rotate(&self, id: &str, now: UnixMillis, old_until: UnixMillis) -> Result<NewKey, KeysError> {
        let (new, hash) = random_key()?;
        rewrite(&self.path, |text| {
            let (position, _) = find(&KeySet::parse(text)?, id, now)?;
            let mut document = parse(text)?;
            let old = tables(&mut document)?.get(position).cloned();
            let mut successor = old.ok_or_else(|| KeysError::new("the key is gone"))?;
            successor.remove("revoked_ms");
            successor["hash"] = value(hash.to_string());
            successor["created_ms"] = value(toml_integer(now));
            // Behind its last sibling, wherever the old one stood.
            successor.set_position(None);
            stop(&mut document, position, old_until)?;
            tables(&mut document)?.push(successor);
            Ok((document.to_string(), ()))
        })?;
        Ok(new)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Terms {
    fn table(&self, hash: &ApiKeyHash, now: UnixMillis) -> Table {
        let mut table = Table::new();
        table["hash"] = value(hash.to_string());
        table["tenant"] = value(self.tenant.as_str());
        table["scopes"] = value(self.scopes.iter().map(|scope| <&str>::from(*scope)).collect::<Array>());
        if let Some(plan) = &self.plan {
            table["plan"] = value(plan);
        }
        table["created_ms"] = value(toml_integer(now));
        if let Some(note) = &self.note {
            table["note"] = value(note);
        }
        table
    }
}

fn random_key() -> Result<(NewKey, ApiKeyHash), KeysError> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| KeysError(format!("no randomness for a key: {error}")))?;
    let api_key = format!("{KEY_PREFIX}{}", hex::encode(bytes));
    let hash = ApiKeyHash::of(&api_key);
    Ok((NewKey { id: KeyDesk::id_of(&hash), api_key }, hash))
}

fn check_plan(keys: &KeySet, plan: Option<&str>) -> Result<(), KeysError> {
    match plan {
        Some(name) if !keys.plans().iter().any(|known| known == name) => {
            Err(KeysError(format!("there is no plan {name}; there are: {}", keys.plans().join(", "))))
        }
        _ => Ok(()),
    }
}

/// The position in the file and the hash of the only valid key that `id` calls.
fn find(keys: &KeySet, id: &str, now: UnixMillis) -> Result<(usize, ApiKeyHash), KeysError> {
    let id = id.to_ascii_lowercase();
    if id.len() < ID_DIGITS_MIN {
        return Err(KeysError(format!("name at least {ID_DIGITS_MIN} digits of the key's hash")));
    }
    let mut called = keys.keys().iter().enumerate().filter(|(_, key)| key.hash.to_string().starts_with(&id));
    match (called.next(), called.next()) {
        (None, _) => Err(KeysError::new("no key is called so")),
        (Some(_), Some(_)) => Err(KeysError::new("more than one key is called so; name more digits")),
        (Some((_, key)), None) if !key.is_valid_at(now) => Err(KeysError::new("it is revoked already")),
        (Some((position, key)), None) => Ok((position, key.hash)),
    }
}

fn parse(text: &str) -> Result<DocumentMut, KeysError> {
    text.parse().map_err(|_| KeysError::new("not TOML"))
}

fn tables(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, KeysError> {
    let item = document.entry("keys").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| KeysError::new("keys stand in a list; write each as [[keys]]"))
}

fn stop(document: &mut DocumentMut, position: usize, at: UnixMillis) -> Result<(), KeysError> {
    let table = tables(document)?.get_mut(position);
    table.ok_or_else(|| KeysError::new("the key is gone"))?["revoked_ms"] = value(toml_integer(at));
    Ok(())
}

/// TOML's whole numbers end with 64 bits and a sign, in the year 292 million.
fn toml_integer(at: UnixMillis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const WRITTEN_BY_HAND: &str = "# Ours.\n[plans.pro]\nburst_cells = 7 # few\n\n";

    fn desk(text: &str) -> (KeyDesk, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        if !text.is_empty() {
            fs::write(&path, text).unwrap();
        }
        (KeyDesk::new(path), folder)
    }

    fn terms(plan: Option<&str>) -> Terms {
        let tenant = TenantId::parse("acme").unwrap();
        let scopes = vec![Scope::Captions, Scope::Admin];
        Terms { tenant, scopes, plan: plan.map(str::to_owned), note: Some("for \"tests\"".to_owned()) }
    }

    #[test]
    fn a_made_key_is_random_hex_and_only_its_hash_is_kept() {
        let (desk, _folder) = desk("");
        let (one, two) = (desk.create(&terms(None), NOW).unwrap(), desk.create(&terms(None), NOW).unwrap());
        assert_ne!(one.api_key, two.api_key);
        let digits = one.api_key.strip_prefix("lede_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let text = fs::read_to_string(desk.path()).unwrap();
        assert!(!text.contains(digits) && text.contains(&ApiKeyHash::of(&one.api_key).to_string()), "{text}");
        let kept = &desk.list().unwrap()[0];
        assert_eq!((kept.record.tenant.as_str(), kept.created_at), ("acme", NOW));
        assert_eq!(kept.record.scopes, [Scope::Captions, Scope::Admin]);
        assert_eq!(kept.note.as_deref(), Some("for \"tests\""));
        assert_eq!(one.id, KeyDesk::id_of(&kept.hash));
    }

    #[test]
    fn what_a_person_wrote_stays_as_it_was() {
        let (desk, _folder) = desk(WRITTEN_BY_HAND);
        let made = desk.create(&terms(Some("pro")), NOW).unwrap();
        desk.revoke(&made.id, NOW).unwrap();
        assert!(fs::read_to_string(desk.path()).unwrap().starts_with(WRITTEN_BY_HAND));
        assert_eq!(desk.list().unwrap()[0].record.plan.burst_cells, 7);
    }

    #[test]
    fn a_plan_that_is_not_there_is_not_given() {
        let (desk, _folder) = desk(WRITTEN_BY_HAND);
        let error = desk.create(&terms(Some("gold")), NOW).err().unwrap();
        assert_eq!(error.to_string(), "there is no plan gold; there are: pro, standard");
        assert!(desk.create(&terms(Some("standard")), NOW).is_ok());
    }

    #[test]
    fn a_revoked_key_has_stopped_and_is_not_revoked_twice() {
        let (desk, _folder) = desk("");
        let made = desk.create(&terms(None), NOW).unwrap();
        assert_eq!(desk.revoke(&made.id[..8], NOW.plus(5)).unwrap(), made.id);
        assert_eq!(desk.list().unwrap()[0].revoked_at, Some(NOW.plus(5)));
        assert!(desk.revoke(&made.id, NOW.plus(6)).is_err());
    }

    #[test]
    fn a_successor_has_the_same_terms_and_the_old_key_lives_on_for_a_while() {
        let (desk, _folder) = desk(WRITTEN_BY_HAND);
        let old = desk.create(&terms(Some("pro")), NOW).unwrap();
        let other = desk.create(&terms(None), NOW).unwrap();
        let new = desk.rotate(&old.id, NOW.plus(5), NOW.plus(9)).unwrap();
        let keys = desk.list().unwrap();
        let ids: Vec<String> = keys.iter().map(|key| KeyDesk::id_of(&key.hash)).collect();
        assert_eq!(ids, [old.id, other.id, new.id]);
        assert_eq!((keys[0].revoked_at, keys[2].revoked_at), (Some(NOW.plus(9)), None));
        assert_eq!((&keys[2].record, keys[2].created_at), (&keys[0].record, NOW.plus(5)));
    }

    #[test]
    fn a_key_is_called_by_enough_digits_and_by_no_others() {
        let (desk, _folder) = desk("");
        let made = desk.create(&terms(None), NOW).unwrap();
        let revoke = |id: &str| desk.revoke(id, NOW).unwrap_err().to_string();
        assert!(revoke(&made.id[..7]).contains("at least 8"));
        assert!(revoke("zzzzzzzz").contains("no key"));
        let same = format!("[[keys]]\nhash = \"{}\"\ntenant = \"a\"\ncreated_ms = 1\n", "ab".repeat(32));
        fs::write(desk.path(), format!("{same}{}", same.replacen("abab\"", "abac\"", 1))).unwrap();
        assert!(revoke("abababab").contains("more than one"));
    }
}
