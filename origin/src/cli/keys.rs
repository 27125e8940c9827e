//! `lede-origin keys …`: the file of keys from the command line.

use std::io::{self, Write};

use super::{KeysAction, table};
use crate::clock;
use crate::config::Config;
use crate::keys::{KeyDesk, NewKey, StoredKey, Terms};
use crate::models::date;

const HOUR_MS: u64 = 3_600_000;

pub(super) fn run(action: KeysAction, config: &Config) -> Result<(), String> {
    let path = config.auth.keys_file.clone().ok_or("LEDE_KEYS_FILE does not name the file of keys")?;
    let (desk, now) = (KeyDesk::new(path), clock::now());
    match action {
        KeysAction::Create { tenant, plan, scopes, note } => {
            let made = desk.create(&Terms { tenant, scopes, plan, note }, now);
            show(&made.map_err(text)?, "made")
        }
        KeysAction::List => list(&desk.list().map_err(text)?),
        KeysAction::Revoke { id } => {
            let id = desk.revoke(&id, now).map_err(text)?;
            say(&format!("revoked {id}: it stops within a minute everywhere\n"))
        }
        KeysAction::Rotate { id, overlap_h } => {
            let made = desk.rotate(&id, now, now.plus(overlap_h * HOUR_MS)).map_err(text)?;
            show(&made, &format!("the old key stops in {overlap_h} hours; made"))
        }
    }
}

/// The key alone on standard output, so that it can be put where it belongs without being seen.
fn show(made: &NewKey, what: &str) -> Result<(), String> {
    let told = writeln!(io::stderr(), "{what} {}; the key is shown only now:", made.id);
    told.map_err(|error| error.to_string())?;
    say(&format!("{}\n", made.api_key))
}

fn list(keys: &[StoredKey]) -> Result<(), String> {
    let header = ["ID", "TENANT", "SCOPES", "PLAN", "CREATED", "REVOKED", "NOTE"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(keys.iter().map(row));
    say(&table::aligned(&rows))
}

fn row(key: &StoredKey) -> [String; 7] {
    let scopes: Vec<&str> = key.record.scopes.iter().map(|scope| (*scope).into()).collect();
    [
        KeyDesk::id_of(&key.hash),
        key.record.tenant.as_str().to_owned(),
        scopes.join(","),
        key.record.plan.name.clone(),
        date::iso(key.created_at),
        key.revoked_at.map_or_else(|| "no".to_owned(), date::iso),
        key.note.clone().unwrap_or_default(),
    ]
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn say(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}
