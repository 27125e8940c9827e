//! Is `wrangler.toml` complete? Wrangler itself does not ask: an environment that lacks a binding deploys, and fails at
//! the first request.
//!
//! Every build compares the environments with one another. A build for an environment that is deployed is also refused
//! while something is still to be filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::workspace::Workspace;

/// What runs on a developer's machine; it has no section of its own.
pub(crate) const DEVELOPMENT: &str = "development";
/// The environments that have one.
pub(crate) const DEPLOYED: [&str; 2] = ["staging", "production"];
/// Set to `allowed`, a dry run may build what is not filled in yet.
pub(crate) const PLACEHOLDERS: &str = "LEDE_PLACEHOLDERS";

/// Keys that say where and how an environment runs; they may differ, and those that are absent come from the top.
const OWN_TO_EACH: [&str; 10] = [
    "name",
    "main",
    "env",
    "build",
    "routes",
    "route",
    "workers_dev",
    "preview_urls",
    "compatibility_date",
    "compatibility_flags",
];
/// Keys that wrangler hands down to an environment that does not write them itself.
const HANDED_DOWN: [&str; 6] = ["migrations", "triggers", "assets", "observability", "limits", "placement"];
/// Ends of names that belong to secrets. A var is readable by whoever can see the deployment.
const SECRET_ENDINGS: [&str; 5] = ["_KEY", "_HASHES", "_SECRET", "_PASSWORD", "_CREDENTIALS"];
/// The top-level domain that no deployment can own (RFC 2606).
const PLACEHOLDER_DOMAIN: &str = ".example";

/// `wrangler.toml`, parsed.
#[derive(Debug)]
pub(crate) struct Configuration(Table);

/// Refuses an incomplete configuration, for the environment that this build is for.
///
/// # Errors
/// Every fault at once, each with its place.
pub(super) fn check(workspace: &Workspace, environment: Option<&str>) -> Result<()> {
    let path = workspace.root.join("wrangler.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let configuration = Configuration::parse(&text).context("wrangler.toml is not to be understood")?;
    let deploys = deploys(env::var("WRANGLER_COMMAND").ok().as_deref());
    let placeholders_allowed = env::var(PLACEHOLDERS).is_ok_and(|value| value == "allowed");
    let mut faults = configuration.differences();
    if !placeholders_allowed && (deploys || environment.is_some()) {
        faults.extend(configuration.unfinished(environment.unwrap_or(DEVELOPMENT))?);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let mut report = String::from("wrangler.toml is not complete:");
    for fault in &faults {
        let _ = write!(report, "\n  - {fault}");
    }
    report.push_str("\ndocs/DEPLOY.md says how to come by each value; a dry run may go on with ");
    bail!("{report}{PLACEHOLDERS}=allowed");
}

/// What wrangler says it is building for. `dev` and `types` stay on this machine.
fn deploys(wrangler_command: Option<&str>) -> bool {
    wrangler_command.is_some_and(|command| !matches!(command, "dev" | "types"))
}

impl Configuration {
    /// Parses the text of `wrangler.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self(text.parse()?))
    }

    /// The section of an environment; development's is the top.
    fn section(&self, environment: &str) -> Option<&Table> {
        if environment == DEVELOPMENT {
            return Some(&self.0);
        }
        self.0.get("env")?.get(environment)?.as_table()
    }

    /// What one environment has and another lacks.
    pub(crate) fn differences(&self) -> Vec<String> {
        let environments = [DEVELOPMENT, DEPLOYED[0], DEPLOYED[1]];
        let everything = environments.map(|name| (name, self.parts(name)));
        let mut faults = BTreeMap::new();
        for (name, parts) in &everything {
            for (other, others) in &everything {
                for missing in others.difference(parts) {
                    faults.entry((*name, missing)).or_insert(*other);
                }
            }
        }
        let lines = faults.into_iter();
        lines.map(|((name, missing), other)| format!("{name} lacks {missing}, which {other} has")).collect()
    }

    /// The names of an environment's vars, bindings and triggers.
    fn parts(&self, environment: &str) -> BTreeSet<String> {
        let mut parts = BTreeSet::new();
        let Some(section) = self.section(environment) else { return parts };
        for (key, value) in section.iter().filter(|(key, _)| !OWN_TO_EACH.contains(&key.as_str())) {
            add_parts(&mut parts, key, value);
        }
        for (key, value) in self.0.iter().filter(|(key, _)| HANDED_DOWN.contains(&key.as_str())) {
            if !section.contains_key(key) {
                add_parts(&mut parts, key, value);
            }
        }
        parts
    }

    /// What has to be filled in or put right before `environment` can be deployed.
    ///
    /// # Errors
    /// When there is no such environment.
    pub(crate) fn unfinished(&self, environment: &str) -> Result<Vec<String>> {
        if environment == DEVELOPMENT {
            return Ok(vec![format!(
                "{DEVELOPMENT} stays on this machine: deploy with --env {} or --env {}",
                DEPLOYED[0], DEPLOYED[1]
            )]);
        }
        let section = self
            .section(environment)
            .with_context(|| format!("no environment is called {environment}: {}", DEPLOYED.join(", ")))?;
        let mut faults = Vec::new();
        faults.extend(unfinished_vars(section));
        faults.extend(self.unfinished_ids(environment, section));
        faults.extend(unfinished_routes(section));
        faults.extend(self.classes_without_migration(section));
        Ok(faults.into_iter().map(|fault| format!("env.{environment}: {fault}")).collect())
    }

    /// Identifiers of what the platform keeps: no placeholders, and none shared between environments, so that a trial in
    /// staging touches nothing of production.
    fn unfinished_ids(&self, environment: &str, section: &Table) -> Vec<String> {
        let mut faults = Vec::new();
        for (kind, field) in [("kv_namespaces", "id"), ("ratelimits", "namespace_id")] {
            for (binding, id) in identifiers(section, kind, field) {
                if is_placeholder(id) {
                    faults.push(format!("{kind} {binding} has a placeholder for its {field}"));
                }
                let elsewhere = DEPLOYED.into_iter().filter(|other| *other != environment);
                let others = elsewhere.filter_map(|other| Some((other, self.section(other)?)));
                for (other, section) in others {
                    let shared = identifiers(section, kind, field).iter().any(|(_, known)| *known == id);
                    if shared && !is_placeholder(id) {
                        faults.push(format!("{kind} {binding} has the {field} of {other}"));
                    }
                }
            }
        }
        faults
    }

    /// A Durable Object's class is made by a migration, or the deployment fails.
    fn classes_without_migration(&self, section: &Table) -> Vec<String> {
        let migrations = section.get("migrations").or_else(|| self.0.get("migrations"));
        let made: Vec<&str> = migrations
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|migration| migration.get("new_sqlite_classes")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let objects = section.get("durable_objects").and_then(|objects| objects.get("bindings")?.as_array());
        let classes = objects.into_iter().flatten().filter_map(|object| object.get("class_name")?.as_str());
        let unmade = classes.filter(|class| !made.contains(class));
        unmade.map(|class| format!("no migration has {class} among its new_sqlite_classes")).collect()
    }
}

/// `vars.MODEL`, `kv_namespaces CAPTIONS`, `durable_objects.bindings QUOTA`, `triggers.crons`.
fn add_parts(parts: &mut BTreeSet<String>, place: &str, value: &Value) {
    match value {
        Value::Table(table) => {
            for (key, inner) in table {
                add_parts(parts, &format!("{place}.{key}"), inner);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_table) => {
            for entry in entries {
                let named = ["binding", "name", "tag"].into_iter().find_map(|field| entry.get(field)?.as_str());
                parts.insert(format!("{place} {}", named.unwrap_or("without a name")));
            }
        }
        _ => {
            parts.insert(place.to_owned());
        }
    }
}

/// Nothing, or almost nothing but zeros: on a developer's machine namespaces are told apart by their last digits.
fn is_placeholder(id: &str) -> bool {
    id.trim_start_matches('0').is_empty() || id.starts_with(&"0".repeat(24))
}

/// Name and identifier of each entry of a kind of binding.
fn identifiers<'a>(section: &'a Table, kind: &str, field: &str) -> Vec<(&'a str, &'a str)> {
    let entries = section.get(kind).and_then(Value::as_array).into_iter().flatten();
    let named = entries.map(|entry| {
        let binding = entry.get("binding").or_else(|| entry.get("name")).and_then(Value::as_str);
        (binding.unwrap_or("without a name"), entry.get(field).and_then(Value::as_str).unwrap_or_default())
    });
    named.collect()
}

fn unfinished_vars(section: &Table) -> Vec<String> {
    let vars = section.get("vars").and_then(Value::as_table);
    let mut faults = Vec::new();
    for (name, value) in vars.into_iter().flatten() {
        let text = value.as_str().unwrap_or_default().trim();
        if SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            faults.push(format!("vars.{name} is a secret: `wrangler secret put {name}`"));
        }
        if text.is_empty() {
            faults.push(format!("vars.{name} must be text that is not empty"));
        }
        for url in text.split([',', ' ', '=', ';']).filter(|part| part.contains("://")) {
            faults.extend(unfit_url(url).map(|fault| format!("vars.{name}: {fault}")));
        }
    }
    faults
}

/// Why an edge somewhere in the world cannot or should not call `url`.
fn unfit_url(url: &str) -> Option<String> {
    let Some(authority) = url.strip_prefix("https://") else {
        return Some(format!("{url} is not https, so captions and signatures would travel in the clear"));
    };
    let authority = authority.split('/').next().unwrap_or_default();
    let host =
        if authority.starts_with('[') { authority } else { authority.split(':').next().unwrap_or_default() };
    if host.ends_with(PLACEHOLDER_DOMAIN) {
        return Some(format!("{url} is a placeholder"));
    }
    let local = host == "localhost" || host.ends_with(".local") || host.starts_with('[') || is_private(host);
    local.then(|| format!("{url} is not reachable from Cloudflare"))
}

fn is_private(host: &str) -> bool {
    let Ok(address) = host.parse::<std::net::Ipv4Addr>() else { return false };
    address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
}

fn unfinished_routes(section: &Table) -> Vec<String> {
    let routes: Vec<_> = section.get("routes").and_then(Value::as_array).into_iter().flatten().collect();
    if routes.is_empty() {
        return vec!["no route: name a custom domain, since the colo tier does nothing on workers.dev".to_owned()];
    }
    let patterns = routes.iter().filter_map(|route| route.get("pattern").unwrap_or(route).as_str());
    let unfinished = patterns.filter(|pattern| {
        pattern.split('/').next().is_some_and(|host| host.ends_with(PLACEHOLDER_DOMAIN) || host.is_empty())
    });
    unfinished.map(|pattern| format!("routes: {pattern} is a placeholder")).collect()
}

#[cfg(test)]
mod tests;
