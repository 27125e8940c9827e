//! Which model writes at which optimization level, as one text that both sides are configured with: `lede-nano-2`, or
//! `lede-nano-2;quality=smollm2-135m`. Keys go by it, so that each level's answers are those of its own model.

use std::fmt;

use crate::api::OptimizationLevel;

/// How many levels there are.
const LEVELS: usize = OptimizationLevel::ALL.len();

/// Ids of the models that write: the primary's, and those of levels that have a model of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServedModels {
    text: String,
    primary: String,
    /// In the order of the levels; none where the primary writes.
    of_levels: [Option<String>; LEVELS],
}

impl ServedModels {
    /// One model for all levels but those for which `own` names another.
    pub fn new(primary: &str, own: impl Fn(OptimizationLevel) -> Option<String>) -> Self {
        let mut of_levels = [const { None }; LEVELS];
        let mut text = primary.to_owned();
        for (level, place) in OptimizationLevel::ALL.iter().zip(&mut of_levels) {
            *place = own(*level).filter(|id| id != primary);
            if let Some(id) = place {
                text.extend([";", level.as_str(), "=", id]);
            }
        }
        Self { text, primary: primary.to_owned(), of_levels }
    }

    /// One model for all levels.
    #[must_use]
    pub fn one(id: &str) -> Self {
        Self::new(id, |_| None)
    }

    /// Reads what [`Self::as_str`] gives. Any text that is not of that form is the name of one model.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let primary = parts.next().unwrap_or_default();
        let named: Option<Vec<(&str, &str)>> = parts.map(|part| part.split_once('=')).collect();
        let own = |level: OptimizationLevel| {
            let named = named.iter().flatten().find(|(name, _)| *name == level.as_str());
            named.map(|(_, id)| (*id).to_owned())
        };
        let read = Self::new(primary, own);
        if read.text == text { read } else { Self::one(text) }
    }

    /// All of it, as it is configured. With one model for all levels it is that model's id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id of the model that writes at a level.
    #[must_use]
    pub fn at(&self, level: OptimizationLevel) -> &str {
        self.of_levels[level as usize].as_ref().unwrap_or(&self.primary)
    }

    /// The ids of all of them, each once, the primary's first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        let mut ids = vec![self.primary.as_str()];
        for id in self.of_levels.iter().flatten() {
            if !ids.contains(&id.as_str()) {
                ids.push(id);
            }
        }
        ids
    }
}

impl fmt::Display for ServedModels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use OptimizationLevel::{Balanced, Quality, UltraFast};

    #[test]
    fn a_level_without_a_model_of_its_own_is_the_primarys() {
        let models = ServedModels::parse("nano;quality=large");
        assert_eq!([UltraFast, Balanced, Quality].map(|level| models.at(level)), ["nano", "nano", "large"]);
        assert_eq!(models.ids(), ["nano", "large"]);
        let one = ServedModels::one("nano");
        assert_eq!((one.as_str(), one.at(Quality), one.ids()), ("nano", "nano", vec!["nano"]));
        let same = ServedModels::new("nano", |_| Some("nano".to_owned()));
        assert_eq!(same, one, "who names the primary once more has named nobody else");
    }

    #[test]
    fn what_names_no_levels_is_the_name_of_one_model() {
        for text in ["", "nano;", "nano;best=large", "nano;quality", "nano;quality=nano", "a;quality=b;balanced=c"]
        {
            assert_eq!(ServedModels::parse(text), ServedModels::one(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written_and_no_two_are_written_alike(
            ids in prop::collection::vec("[a-z0-9.:-]{1,6}", 4),
            own in any::<[bool; 3]>(),
            others in any::<[bool; 3]>(),
        ) {
            let served = |own: [bool; 3]| {
                ServedModels::new(&ids[3], |level| own[level as usize].then(|| ids[level as usize].clone()))
            };
            let models = served(own);
            prop_assert_eq!(ServedModels::parse(models.as_str()), models.clone());
            let other = served(others);
            let are_alike = OptimizationLevel::ALL.iter().all(|level| models.at(*level) == other.at(*level));
            prop_assert_eq!(models.as_str() == other.as_str(), are_alike);
        }
    }
}
