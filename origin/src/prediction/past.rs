//! In which of the last periods something happened, by slot of the period: one byte for each slot.

use serde::{Deserialize, Serialize};

/// Periods that are remembered before the present one.
const PERIODS_MAX: u32 = 7;

/// Bit 0 of each slot's byte is the present period (a day, a week, a year), bit 1 the one before, and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub(super) struct Past<const SLOTS: usize> {
    present: u32,
    first: u32,
    slots: [u8; SLOTS],
}

/// How it is written down: only the slots in which something happened.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    present: u32,
    first: u32,
    slots: Vec<(u8, u8)>,
}

impl<const SLOTS: usize> Past<SLOTS> {
    /// Nothing has happened before `period`.
    pub(super) const fn since(period: u32) -> Self {
        Self { present: period, first: period, slots: [0; SLOTS] }
    }

    /// It happens now. False when that was known. What comes from an earlier period than the present one, because a clock
    /// was put back, counts for the present one.
    pub(super) fn note(&mut self, period: u32, slot: usize) -> bool {
        let passed = period.saturating_sub(self.present);
        if passed > 0 {
            self.slots.iter_mut().for_each(|byte| *byte = shifted(*byte, passed));
            self.present = period;
        }
        let Some(byte) = self.slots.get_mut(slot) else { return false };
        let is_news = *byte & 1 == 0;
        *byte |= 1;
        is_news
    }

    /// The share of the earlier periods in which it happened in `slot`, estimated with caution: few periods say little.
    /// Zero when it happened less than `times_min` times.
    pub(super) fn chance(&self, period: u32, slot: usize, times_min: u32) -> f64 {
        let byte = self.slots.get(slot).copied().unwrap_or_default();
        let times = (shifted(byte, period.saturating_sub(self.present)) >> 1).count_ones();
        if times < times_min {
            return 0.0;
        }
        let periods = period.saturating_sub(self.first).min(PERIODS_MAX);
        f64::from(times) / (f64::from(periods) + 1.0)
    }
}

/// A byte as it stands `passed` periods later.
const fn shifted(byte: u8, passed: u32) -> u8 {
    if passed > PERIODS_MAX { 0 } else { byte << passed }
}

impl<const SLOTS: usize> From<Past<SLOTS>> for Written {
    fn from(past: Past<SLOTS>) -> Self {
        let slots = (0u8..=u8::MAX).zip(past.slots).filter(|(_, byte)| *byte != 0).collect();
        Self { present: past.present, first: past.first, slots }
    }
}

impl<const SLOTS: usize> TryFrom<Written> for Past<SLOTS> {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut past = Self { present: written.present, first: written.first, slots: [0; SLOTS] };
        for (slot, byte) in written.slots {
            let place = past.slots.get_mut(usize::from(slot));
            *place.ok_or_else(|| format!("there is no slot {slot}"))? = byte;
        }
        Ok(past)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_happens_every_day_becomes_almost_certain() {
        let mut past = Past::<24>::since(10);
        for day in 10..17 {
            assert!(past.note(day, 9));
            assert!(!past.note(day, 9), "known already");
        }
        assert!((past.chance(17, 9, 2) - 7.0 / 8.0).abs() < 1e-9);
        assert!(past.chance(17, 10, 2).abs() < 1e-9, "never at ten");
    }

    proptest! {
        #[test]
        fn a_chance_is_the_share_of_the_last_periods_and_never_certain(
            happened in prop::collection::vec(any::<bool>(), 1..40), idle in 0u32..12,
        ) {
            let mut past = Past::<168>::since(0);
            for (period, happened) in (0u32..).zip(&happened) {
                if *happened {
                    past.note(period, 100);
                }
            }
            let now = happened.len() as u32 + idle;
            let lately = |period: u32| now - period <= PERIODS_MAX;
            let times = (0u32..).zip(&happened).filter(|(period, happened)| **happened && lately(*period)).count();
            let expected = if times == 0 { 0.0 } else { times as f64 / f64::from(now.min(PERIODS_MAX) + 1) };
            prop_assert!((past.chance(now, 100, 1) - expected).abs() < 1e-9);
            prop_assert!(past.chance(now, 100, 1) < 1.0);
            let again: Past<168> = serde_json::from_str(&serde_json::to_string(&past).unwrap()).unwrap();
            prop_assert_eq!(again, past);
        }
    }
}
