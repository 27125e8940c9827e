//! What is asked for at the same hour, on the same weekday, in the same week of the year. In UTC: where a clock is put
//! forward or back, habits are found again within a few days.

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::popularity::TopTable;
use serde::{Deserialize, Serialize};

use super::acquaintances::Acquaintances;
use super::past::Past;
use super::{Prediction, Source, likeliest};

/// Keys with a history, of about 350 bytes each besides what belongs to them.
const KEYS_MAX: usize = 8_192;
/// What is said of one hour.
const PREDICTIONS_MAX: usize = 256;
/// So long before an hour begins it is said what is likely in it.
const LEAD_MS: u64 = 10 * 60_000;
const HOUR_MS: u64 = 3_600_000;
const HOURS_OF_DAY: usize = 24;
const HOURS_OF_WEEK: usize = 7 * HOURS_OF_DAY;
const WEEKS_OF_YEAR: usize = 53;
/// Once in an hour of a day or of a week is chance; once in a week of a year is all that one year can say.
const TIMES_MIN: u32 = 2;
const TIMES_OF_YEARS_MIN: u32 = 1;

/// When a key was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rhythm {
    days: Past<HOURS_OF_DAY>,
    weeks: Past<HOURS_OF_WEEK>,
    years: Past<WEEKS_OF_YEAR>,
}

/// An hour and its places in day, week and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hour {
    /// Hours since 1970.
    number: u64,
    day: u32,
    week: u32,
    year: u32,
    week_of_year: usize,
}

impl Hour {
    fn of(at: UnixMillis) -> Self {
        let number = at.0 / HOUR_MS;
        let day = u32::try_from(number / HOURS_OF_DAY as u64).unwrap_or(u32::MAX - 3);
        // The mean year of the Gregorian calendar, so that a date falls into the same week within a day.
        let in_years = u64::from(day) * 10_000;
        Self {
            number,
            day,
            // 1970 began on a Thursday; weeks begin on Mondays.
            week: (day + 3) / 7,
            year: u32::try_from(in_years / 3_652_425).unwrap_or(u32::MAX),
            week_of_year: (in_years % 3_652_425 / 70_000) as usize,
        }
    }

    const fn of_day(&self) -> usize {
        (self.number % HOURS_OF_DAY as u64) as usize
    }

    const fn of_week(&self) -> usize {
        ((self.number + 3 * HOURS_OF_DAY as u64) % HOURS_OF_WEEK as u64) as usize
    }

    const fn begins(&self) -> UnixMillis {
        UnixMillis(self.number * HOUR_MS)
    }

    /// In the first hour of a week of the year, that whole week is spoken of.
    fn begins_week_of_year(&self) -> bool {
        let before = Self::of(UnixMillis(self.begins().0.saturating_sub(HOUR_MS)));
        before.week_of_year != self.week_of_year
    }
}

impl Rhythm {
    fn beginning(hour: &Hour) -> Self {
        Self { days: Past::since(hour.day), weeks: Past::since(hour.week), years: Past::since(hour.year) }
    }

    /// False when it was known that the key was asked for in this hour.
    fn note(&mut self, hour: &Hour) -> bool {
        self.weeks.note(hour.week, hour.of_week());
        self.years.note(hour.year, hour.week_of_year);
        self.days.note(hour.day, hour.of_day())
    }

    /// How likely the key is asked for in `hour`, and what says so.
    fn chance(&self, hour: &Hour) -> (f64, Source) {
        let by_day = (self.days.chance(hour.day, hour.of_day(), TIMES_MIN), Source::Hour);
        let by_week = (self.weeks.chance(hour.week, hour.of_week(), TIMES_MIN), Source::Weekday);
        let by_year = if hour.begins_week_of_year() {
            self.years.chance(hour.year, hour.week_of_year, TIMES_OF_YEARS_MIN)
        } else {
            0.0
        };
        let likelier = if by_week.0 > by_day.0 { by_week } else { by_day };
        if by_year > likelier.0 { (by_year, Source::Season) } else { likelier }
    }
}

#[derive(Clone, Debug)]
struct Dated<V> {
    value: V,
    rhythm: Rhythm,
}

/// Keys that come back, with their histories.
#[derive(Clone, Debug)]
pub(super) struct Calendar<V> {
    keys: TopTable<Dated<V>>,
    acquaintances: Acquaintances,
    /// The last hour that was spoken of.
    told: u64,
}

impl<V> Default for Calendar<V> {
    fn default() -> Self {
        Self { keys: TopTable::new(KEYS_MAX), acquaintances: Acquaintances::default(), told: 0 }
    }
}

impl<V: Clone> Calendar<V> {
    /// Notes a look-up. A key gets a history from the second day on which it is asked for.
    pub(super) fn seen(&mut self, key: &CacheKey, at: UnixMillis, value: &V) {
        let hour = Hour::of(at);
        let is_news = match self.keys.value_mut(key) {
            Some(dated) => dated.rhythm.note(&hour),
            None => self.acquaintances.meet(key, hour.day),
        };
        if !is_news {
            return;
        }
        // Counted once an hour: who comes back on many days stays before who comes often on one.
        self.keys.record(*key, || {
            let mut rhythm = Rhythm::beginning(&hour);
            rhythm.note(&hour);
            Dated { value: value.clone(), rhythm }
        });
    }

    pub(super) fn due(&mut self, now: UnixMillis, probability_min: f64) -> Vec<Prediction<V>> {
        let hour = Hour::of(now.plus(LEAD_MS));
        if hour.number <= self.told {
            return Vec::new();
        }
        self.told = hour.number;
        let predictions = self.keys.most_first().filter_map(|(key, entry)| {
            let (probability, source) = entry.value.rhythm.chance(&hour);
            let lasts_ms = if source == Source::Season { HOURS_OF_DAY as u64 * HOUR_MS } else { HOUR_MS };
            (probability > 0.0 && probability >= probability_min).then(|| Prediction {
                key: *key,
                value: entry.value.value.clone(),
                probability,
                source,
                until: hour.begins().plus(lasts_ms),
            })
        });
        likeliest(predictions.collect(), PREDICTIONS_MAX)
    }

    pub(super) fn value(&self, key: &CacheKey) -> Option<&V> {
        self.keys.value(key).map(|dated| &dated.value)
    }

    pub(super) fn rhythms(&self) -> impl Iterator<Item = (&CacheKey, &Rhythm, &V)> {
        self.keys.most_first().map(|(key, entry)| (key, &entry.value.rhythm, &entry.value.value))
    }

    pub(super) fn remember(&mut self, key: CacheKey, value: &V, rhythm: Rhythm) {
        self.keys.record(key, || Dated { value: value.clone(), rhythm });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_fall_into_days_weeks_and_years() {
        // Saturday, 21 November 2026, 20:04 UTC.
        let hour = Hour::of(UnixMillis(1_795_291_440_000));
        assert_eq!((hour.of_day(), hour.of_week(), hour.year), (20, 5 * 24 + 20, 56));
        let a_year_later = Hour::of(UnixMillis(1_795_291_440_000 + 365 * 24 * HOUR_MS));
        assert_eq!((a_year_later.year, a_year_later.week_of_year), (57, hour.week_of_year));
        let weeks = (0..400).map(|day| Hour::of(UnixMillis(day * 24 * HOUR_MS)).week_of_year);
        assert!(weeks.clone().all(|week| week < WEEKS_OF_YEAR) && weeks.max() == Some(52));
    }
}
