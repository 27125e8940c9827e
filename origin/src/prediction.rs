//! Which answers are likely to be asked for next: by what followed each key before, and by the calendar.
//!
//! Pure: time is an argument, nothing waits, and every table has a bound. It knows keys and what belongs to them (`V`), no
//! requests. What it says is a guess with a probability; whether guesses of its kind have been worth making is what the
//! [`Ledger`] knows.

mod acquaintances;
mod calendar;
mod followers;
mod gate;
mod ledger;
mod past;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use serde::Serialize;

use self::calendar::Calendar;
pub use self::calendar::Rhythm;
use self::followers::Followers;
pub use self::gate::GateState;
pub use self::ledger::{Guess, Ledger, SourceStats};

/// One look-up of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUp {
    /// What was asked for.
    pub key: CacheKey,
    /// Who asked, in a form that says nothing else of them. What follows what is learnt from each tenant's own look-ups,
    /// so that strangers' interleaving is no signal.
    pub tenant: u64,
    /// When.
    pub at: UnixMillis,
}

/// What a prediction stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It has followed what was just asked for.
    Follows,
    /// It was asked for in this hour on earlier days.
    Hour,
    /// It was asked for in this hour of this weekday in earlier weeks.
    Weekday,
    /// It was asked for in this week of earlier years.
    Season,
}

impl Source {
    /// Every source, in the order in which they stand.
    pub const ALL: [Self; 4] = [Self::Follows, Self::Hour, Self::Weekday, Self::Season];
}

/// A key that is likely to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction<V> {
    /// Which.
    pub key: CacheKey,
    /// What belongs to it.
    pub value: V,
    /// How likely, 0 to 1.
    pub probability: f64,
    /// Why.
    pub source: Source,
    /// Until when it should have been asked for, and so until when its answer should be fresh.
    pub until: UnixMillis,
}

/// Learns from look-ups and predicts.
#[derive(Clone, Debug)]
pub struct Predictor<V> {
    followers: Followers<V>,
    calendar: Calendar<V>,
    probability_min: f64,
}

impl<V: Clone> Predictor<V> {
    /// Knows nothing yet. Says nothing that is less likely than `probability_min`.
    #[must_use]
    pub fn new(probability_min: f64) -> Self {
        Self { followers: Followers::default(), calendar: Calendar::default(), probability_min }
    }

    /// Learns from a look-up, and says what is likely to follow it, the likeliest first; a few at most.
    pub fn seen(&mut self, look_up: &LookUp, value: &V) -> Vec<Prediction<V>> {
        self.calendar.seen(&look_up.key, look_up.at, value);
        self.followers.seen(look_up, value, self.probability_min)
    }

    /// What is likely to be asked for in the hour that is about to begin, the likeliest first. Says it once for each hour.
    pub fn due(&mut self, now: UnixMillis) -> Vec<Prediction<V>> {
        self.calendar.due(now, self.probability_min)
    }

    /// What belongs to a key that it knows.
    #[must_use]
    pub fn value(&self, key: &CacheKey) -> Option<&V> {
        self.followers.value(key).or_else(|| self.calendar.value(key))
    }

    /// The keys asked for most, with about how often, the most popular first.
    pub fn most_first(&self) -> impl Iterator<Item = (&CacheKey, u64, &V)> {
        self.followers.most_first()
    }

    /// The keys with a history of days, with it; those asked for on most days first.
    pub fn rhythms(&self) -> impl Iterator<Item = (&CacheKey, &Rhythm, &V)> {
        self.calendar.rhythms()
    }

    /// Takes over what an earlier process knew of a key: how often it was asked for, and its history, if it had one.
    pub fn remember(&mut self, key: CacheKey, value: &V, count: u64, rhythm: Option<Rhythm>) {
        self.followers.remember(key, value, count);
        if let Some(rhythm) = rhythm {
            self.calendar.remember(key, value, rhythm);
        }
    }
}

/// The likeliest first, at most `predictions_max`.
fn likeliest<V>(mut predictions: Vec<Prediction<V>>, predictions_max: usize) -> Vec<Prediction<V>> {
    predictions.sort_by(|one, other| other.probability.total_cmp(&one.probability).then(one.key.cmp(&other.key)));
    predictions.truncate(predictions_max);
    predictions
}

#[cfg(test)]
mod tests;
