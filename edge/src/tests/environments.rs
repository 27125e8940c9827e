//! `wrangler.toml` as the edge reads it.

use super::deployment::binding;
use crate::config::Config;

#[test]
fn the_vars_of_every_environment_are_a_configuration() {
    let file: toml::Table = include_str!("../../../wrangler.toml").parse().expect("wrangler.toml is TOML");
    let environments = file["env"].as_table().expect("staging and production");
    assert!(environments.len() >= 2);
    for (name, section) in [("development", &file)]
        .into_iter()
        .chain(environments.iter().map(|(name, section)| (name.as_str(), section.as_table().expect("a section"))))
    {
        let vars = section["vars"].as_table().expect("vars");
        // What is no var is a secret.
        let text = |wanted| match vars.get(wanted) {
            Some(value) => value.as_str().map(str::to_owned),
            None => binding(wanted),
        };
        assert!(Config::read(text).is_ok(), "{name}: {:?}", Config::read(text).err());
    }
}
