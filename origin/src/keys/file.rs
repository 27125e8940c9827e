//! The form of the file of keys: a table of plans, and one record for each key.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use lede_shared::api::BATCH_REQUESTS_MAX;
use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::clock::UnixMillis;
use lede_shared::plan::{KeyRecord, Plan, Priority, Scope};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::KeysError;

/// Most keys in one file, revoked ones included.
pub(super) const KEYS_MAX: usize = 10_000;
/// The plan of a key that names none. A file may say what it holds.
pub const PLAN_DEFAULT: &str = "standard";
/// The name of a plan that stands in the key's own record.
const PLAN_OWN: &str = "own";
const NAME_CHARS_MAX: usize = 64;
const NOTE_CHARS_MAX: usize = 200;

/// A key as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The key's hash.
    pub hash: ApiKeyHash,
    /// What it is good for.
    pub record: Arc<KeyRecord>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it stops; may lie in the future.
    pub revoked_at: Option<UnixMillis>,
    /// For people.
    pub note: Option<String>,
}

impl StoredKey {
    /// Does it open the door?
    #[must_use]
    pub fn is_valid_at(&self, now: UnixMillis) -> bool {
        self.revoked_at.is_none_or(|revoked_at| now < revoked_at)
    }
}

/// All keys of a file.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    in_order: Vec<StoredKey>,
    by_hash: HashMap<ApiKeyHash, usize>,
    plans: Vec<String>,
}

impl KeySet {
    /// Reads a file's text. It is taken whole or not at all.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let form: FileForm = toml_edit::de::from_str(text).map_err(|error| in_line(text, &error))?;
        if form.keys.len() > KEYS_MAX {
            return Err(KeysError::new(format!("more than {KEYS_MAX} keys")));
        }
        let plans = form.plans.into_iter().map(|(name, settings)| settings.plan(&name).map(|plan| (name, plan)));
        let mut plans = plans.collect::<Result<BTreeMap<_, _>, _>>()?;
        plans.entry(PLAN_DEFAULT.to_owned()).or_default();
        let mut keys = Self { plans: plans.keys().cloned().collect(), ..Self::default() };
        for (index, form) in form.keys.into_iter().enumerate() {
            let number = index + 1;
            let key = form.key(&plans).map_err(|KeysError(fault)| KeysError(format!("key {number}: {fault}")))?;
            if keys.by_hash.insert(key.hash, index).is_some() {
                return Err(KeysError(format!("key {number}: its hash is there twice")));
            }
            keys.in_order.push(key);
        }
        Ok(keys)
    }

    /// The key with this hash, revoked or not.
    #[must_use]
    pub fn get(&self, hash: &ApiKeyHash) -> Option<&StoredKey> {
        self.by_hash.get(hash).and_then(|index| self.in_order.get(*index))
    }

    /// In the file's order.
    #[must_use]
    pub fn keys(&self) -> &[StoredKey] {
        &self.in_order
    }

    /// The names of all plans, the default one among them.
    #[must_use]
    pub fn plans(&self) -> &[String] {
        &self.plans
    }
}

/// The library's own text quotes the line; a hash would stand in it.
fn in_line(text: &str, error: &toml_edit::de::Error) -> KeysError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    KeysError(format!("line {}: {}", before.matches('\n').count() + 1, error.message()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    plans: BTreeMap<String, PlanForm>,
    #[serde(default)]
    keys: Vec<KeyForm>,
}

/// What differs from [`Plan::default`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanForm {
    cells_per_minute: Option<u32>,
    burst_cells: Option<u32>,
    daily_cells: Option<u64>,
    priority: Option<Priority>,
    batch_requests_max: Option<u16>,
    cache_is_private: Option<bool>,
}

impl PlanForm {
    fn plan(self, name: &str) -> Result<Plan, KeysError> {
        let refuse = |reason: &str| Err(KeysError(format!("the plan {name:.64}: {reason}")));
        let other = Plan::default();
        let plan = Plan {
            name: name.to_owned(),
            cells_per_minute: self.cells_per_minute.unwrap_or(other.cells_per_minute),
            burst_cells: self.burst_cells.unwrap_or(other.burst_cells),
            daily_cells: self.daily_cells.unwrap_or(other.daily_cells),
            priority: self.priority.unwrap_or(other.priority),
            batch_requests_max: self.batch_requests_max.unwrap_or(other.batch_requests_max),
            cache_is_private: self.cache_is_private.unwrap_or(other.cache_is_private),
        };
        if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
            return refuse("a name has 1 to 64 characters");
        }
        if plan.cells_per_minute == 0 || plan.burst_cells == 0 || plan.daily_cells == 0 {
            return refuse("cells are 1 or more; a key that may do nothing is a revoked one");
        }
        if !(1..=BATCH_REQUESTS_MAX).contains(&usize::from(plan.batch_requests_max)) {
            return refuse(&format!("batch_requests_max must be 1 to {BATCH_REQUESTS_MAX}"));
        }
        Ok(plan)
    }
}

/// A plan by name, or one that stands here.
enum PlanChoice {
    Named(String),
    Own(PlanForm),
}

impl<'de> Deserialize<'de> for PlanChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = PlanChoice;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a plan's name or a table with what differs from the default plan")
            }

            fn visit_str<E>(self, name: &str) -> Result<PlanChoice, E> {
                Ok(PlanChoice::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<PlanChoice, A::Error> {
                PlanForm::deserialize(MapAccessDeserializer::new(table)).map(PlanChoice::Own)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyForm {
    hash: String,
    tenant: TenantId,
    #[serde(default = "captions_only")]
    scopes: Vec<Scope>,
    plan: Option<PlanChoice>,
    created_ms: UnixMillis,
    revoked_ms: Option<UnixMillis>,
    note: Option<String>,
}

fn captions_only() -> Vec<Scope> {
    vec![Scope::Captions]
}

impl KeyForm {
    fn key(self, plans: &BTreeMap<String, Plan>) -> Result<StoredKey, KeysError> {
        let hash = ApiKeyHash::parse(&self.hash);
        let hash = hash.ok_or_else(|| KeysError::new("a hash is 64 hexadecimal digits in lower case"))?;
        if self.tenant == TenantId::edge() {
            return Err(KeysError::new("no key may be given to the tenant that the edge itself goes by"));
        }
        if self.note.as_deref().is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX) {
            return Err(KeysError(format!("a note has at most {NOTE_CHARS_MAX} characters")));
        }
        let plan = match self.plan.unwrap_or_else(|| PlanChoice::Named(PLAN_DEFAULT.to_owned())) {
            PlanChoice::Own(settings) => settings.plan(PLAN_OWN)?,
            PlanChoice::Named(name) => {
                let plan = plans.get(&name).cloned();
                plan.ok_or_else(|| KeysError(format!("there is no [plans.{name:.64}]")))?
            }
        };
        let record = Arc::new(KeyRecord { tenant: self.tenant, scopes: self.scopes, plan });
        Ok(StoredKey { hash, record, created_at: self.created_ms, revoked_at: self.revoked_ms, note: self.note })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

    fn key(rest: &str) -> String {
        format!("[[keys]]\nhash = \"{HASH}\"\ntenant = \"acme\"\ncreated_ms = 1000\n{rest}\n")
    }

    fn record(text: &str) -> KeyRecord {
        let keys = KeySet::parse(text).unwrap();
        keys.keys()[0].record.as_ref().clone()
    }

    fn fault(text: &str) -> String {
        let fault = KeySet::parse(text).unwrap_err().to_string();
        assert!(!fault.contains(HASH) && !fault.contains('\n'), "{fault}");
        fault
    }

    #[test]
    fn a_key_of_which_nothing_else_is_said_is_for_captions_on_the_default_plan() {
        assert_eq!(record(&key("")), KeyRecord::standard(TenantId::parse("acme").unwrap()));
        assert_eq!(KeySet::parse("").unwrap().keys(), []);
    }

    #[test]
    fn a_plan_is_the_default_one_but_for_what_it_says() {
        let plans = "[plans.pro]\ncells_per_minute = 6000\npriority = \"high\"\ncache_is_private = true\n";
        let expected = Plan {
            name: "pro".to_owned(),
            cells_per_minute: 6_000,
            priority: Priority::High,
            cache_is_private: true,
            ..Plan::default()
        };
        assert_eq!(record(&format!("{plans}{}", key("plan = \"pro\""))).plan, expected);
        let own = record(&key("plan = { burst_cells = 7 }")).plan;
        assert_eq!(own, Plan { name: "own".to_owned(), burst_cells: 7, ..Plan::default() });
    }

    #[test]
    fn the_default_plan_is_what_the_file_says_it_is() {
        assert_eq!(record(&format!("[plans.standard]\ndaily_cells = 5\n{}", key(""))).plan.daily_cells, 5);
    }

    #[test]
    fn scopes_are_those_that_are_named() {
        assert_eq!(record(&key("scopes = [\"admin\"]")).scopes, [Scope::Admin]);
    }

    #[test]
    fn a_key_is_valid_until_it_is_revoked() {
        let keys = KeySet::parse(&key("revoked_ms = 5000")).unwrap();
        let stored = keys.get(&ApiKeyHash::parse(HASH).unwrap()).unwrap();
        assert!(stored.is_valid_at(UnixMillis(4_999)) && !stored.is_valid_at(UnixMillis(5_000)));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_the_hash() {
        assert_eq!(fault(&key("plan = \"gold\"")), "key 1: there is no [plans.gold]");
        assert_eq!(fault(&format!("{0}{0}", key(""))), "key 2: its hash is there twice");
        assert_eq!(
            fault(&key("").replace("acme", "lede-edge")),
            "key 1: no key may be given to the tenant that the edge itself goes by"
        );
        assert!(fault(&key("").replace("0a\"", "0A\"")).contains("lower case"));
        assert!(fault(&key("").replace("acme", "Acme")).starts_with("line 3: a tenant id"));
        assert!(fault(&key("scopes = [\"all\"]")).starts_with("line 5: "));
        assert!(fault(&key("plan = { cells = 7 }")).contains("cells"));
        assert!(fault(&key("colour = 1")).contains("colour"));
        assert!(fault("[plans.none]\nburst_cells = 0").contains("the plan none"));
        assert!(fault("[plans.none]\nbatch_requests_max = 101").contains("1 to 100"));
        assert!(fault(&key("").replace(HASH, &format!("{HASH} oops"))).contains("64"));
        assert!(fault("[[keys]\n").starts_with("line 1: "));
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,80}", rest in "[a-z_]{1,12} = [\\[\\]{}\"0-9a-z, =]{0,30}") {
            let _ = KeySet::parse(&text);
            let _ = KeySet::parse(&key(&rest));
        }
    }
}
