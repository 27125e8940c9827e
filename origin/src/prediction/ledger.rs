//! What was made on a guess and what became of it.

use std::collections::{BTreeSet, HashMap};

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use serde::Serialize;

use super::Source;
use super::gate::{Gate, GateState};

/// Answers made on a guess whose end is awaited.
const AWAITED_MAX: usize = 4_096;

/// An answer that is made on a guess.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    /// Its key.
    pub key: CacheKey,
    /// What the guess stands on.
    pub source: Source,
    /// Device time that it took.
    pub device_ms: u32,
    /// Until when it should be asked for. Later it counts as unused, unless it is asked for before it expires.
    pub until: UnixMillis,
    /// When it is fresh no more.
    pub expires_at: UnixMillis,
}

/// What has become of one source's guesses. Made are those used, those wasted and those whose end is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStats {
    /// On what they stand.
    pub source: Source,
    /// Whether more are made.
    pub gate: GateState,
    /// Answers made.
    pub made: u64,
    /// Asked for while they were fresh and held.
    pub used: u64,
    /// Expired or evicted before anybody asked.
    pub wasted: u64,
    /// Device time of all that were made.
    pub device_ms: u64,
    /// Device time of those wasted.
    pub wasted_device_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    guess: Guess,
    round: u32,
    is_judged: bool,
    uses: u32,
}

#[derive(Clone, Debug)]
struct Account {
    gate: Gate,
    stats: SourceStats,
}

/// Counts what is made on guesses, used and wasted, and says whether more should be made.
#[derive(Clone, Debug)]
pub struct Ledger {
    accounts: [Account; Source::ALL.len()],
    awaited: HashMap<CacheKey, Awaited>,
    /// When each is to be looked at next: judged, then over.
    by_time: BTreeSet<(UnixMillis, CacheKey)>,
}

impl Ledger {
    /// Nothing made yet. A source is closed when less than `used_share_min` (0 to 1) of what it made was used.
    #[must_use]
    pub fn new(used_share_min: f64) -> Self {
        let account = |source| {
            let (gate, stats) = (Gate::new(used_share_min), SourceStats::none(source));
            Account { gate, stats }
        };
        Self { accounts: Source::ALL.map(account), awaited: HashMap::new(), by_time: BTreeSet::new() }
    }

    /// May another answer be made on a guess of `source`?
    pub fn may_make(&mut self, source: Source, now: UnixMillis) -> bool {
        self.settle(now);
        self.awaited.len() < AWAITED_MAX && self.account(source).gate.may_make(now)
    }

    /// An answer was made on a guess.
    pub fn made(&mut self, guess: Guess) {
        self.replaced(&guess.key);
        let account = self.account(guess.source);
        let round = account.gate.made();
        account.stats.made += 1;
        account.stats.device_ms += u64::from(guess.device_ms);
        let until = guess.until.min(guess.expires_at);
        self.by_time.insert((until, guess.key));
        self.awaited.insert(guess.key, Awaited { guess, round, is_judged: false, uses: 0 });
    }

    /// A key was looked up.
    pub fn asked(&mut self, key: &CacheKey, now: UnixMillis) {
        if !self.awaited.contains_key(key) {
            return;
        }
        self.settle(now);
        let Some(awaited) = self.awaited.get_mut(key) else { return };
        awaited.uses += 1;
        if awaited.uses > 1 {
            return;
        }
        let (guess, round, was_judged) = (awaited.guess, awaited.round, awaited.is_judged);
        awaited.is_judged = true;
        let account = self.account(guess.source);
        account.stats.used += 1;
        if was_judged {
            account.gate.used_late();
        } else {
            account.gate.judged(round, true, now);
        }
        self.look_again(&guess, guess.expires_at);
    }

    /// A key was not held when it was asked for, or was purged. The look-up that found it gone is no use of it.
    pub fn lost(&mut self, key: &CacheKey, now: UnixMillis) {
        let Some(awaited) = self.awaited.get(key).copied() else { return };
        if awaited.uses > 1 {
            self.forget(&awaited.guess);
            return;
        }
        if awaited.uses == 1 {
            self.account(awaited.guess.source).stats.used -= 1;
        }
        self.wasted(&awaited, now);
    }

    /// Made again: one that was not asked for is of no use to anybody.
    fn replaced(&mut self, key: &CacheKey) {
        match self.awaited.get(key).copied() {
            Some(awaited) if awaited.uses == 0 => self.wasted(&awaited, awaited.guess.until),
            Some(awaited) => self.forget(&awaited.guess),
            None => {}
        }
    }

    /// What has become of them, by source.
    #[must_use]
    pub fn stats(&self) -> Vec<SourceStats> {
        let with_gate = |account: &Account| SourceStats { gate: account.gate.state(), ..account.stats };
        self.accounts.iter().map(with_gate).collect()
    }

    /// Judges what should have been asked for by now, and writes off what nobody can use any more.
    pub fn settle(&mut self, now: UnixMillis) {
        while let Some((at, key)) = self.by_time.first().copied() {
            if at > now {
                return;
            }
            self.by_time.pop_first();
            let Some(awaited) = self.awaited.get(&key).copied() else { continue };
            if at < awaited.guess.expires_at {
                self.judge_unused(&awaited, now);
                self.by_time.insert((awaited.guess.expires_at, key));
            } else if awaited.uses == 0 {
                self.wasted(&awaited, now);
            } else {
                self.forget(&awaited.guess);
            }
        }
    }

    fn wasted(&mut self, awaited: &Awaited, now: UnixMillis) {
        self.judge_unused(awaited, now);
        let account = self.account(awaited.guess.source);
        account.stats.wasted += 1;
        account.stats.wasted_device_ms += u64::from(awaited.guess.device_ms);
        self.forget(&awaited.guess);
    }

    fn judge_unused(&mut self, awaited: &Awaited, now: UnixMillis) {
        if awaited.is_judged {
            return;
        }
        self.account(awaited.guess.source).gate.judged(awaited.round, false, now);
        if let Some(kept) = self.awaited.get_mut(&awaited.guess.key) {
            kept.is_judged = true;
        }
    }

    fn look_again(&mut self, guess: &Guess, at: UnixMillis) {
        self.by_time.remove(&(guess.until.min(guess.expires_at), guess.key));
        self.by_time.insert((at, guess.key));
    }

    fn forget(&mut self, guess: &Guess) {
        self.awaited.remove(&guess.key);
        self.by_time.remove(&(guess.until.min(guess.expires_at), guess.key));
        self.by_time.remove(&(guess.expires_at, guess.key));
    }

    const fn account(&mut self, source: Source) -> &mut Account {
        &mut self.accounts[source as usize]
    }
}

impl SourceStats {
    const fn none(source: Source) -> Self {
        let gate = GateState::Open;
        Self { source, gate, made: 0, used: 0, wasted: 0, device_ms: 0, wasted_device_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCE: Source = Source::Follows;

    fn guess(name: u8, until: u64, expires_at: u64) -> Guess {
        let (until, expires_at) = (UnixMillis(until), UnixMillis(expires_at));
        Guess { key: CacheKey([name; 32]), source: SOURCE, device_ms: 10, until, expires_at }
    }

    fn counts(ledger: &Ledger) -> (u64, u64, u64) {
        let stats = ledger.stats()[SOURCE as usize];
        (stats.made, stats.used, stats.wasted)
    }

    #[test]
    fn an_answer_is_used_once_however_often_it_is_asked_for_and_wasted_when_nobody_does() {
        let mut ledger = Ledger::new(0.3);
        ledger.made(guess(1, 10, 100));
        ledger.made(guess(2, 10, 100));
        ledger.made(guess(3, 10, 100));
        ledger.asked(&CacheKey([1; 32]), UnixMillis(5));
        ledger.asked(&CacheKey([1; 32]), UnixMillis(6));
        // Late, but while it is still fresh.
        ledger.asked(&CacheKey([2; 32]), UnixMillis(50));
        ledger.settle(UnixMillis(99));
        assert_eq!(counts(&ledger), (3, 2, 0));
        ledger.settle(UnixMillis(100));
        assert_eq!(counts(&ledger), (3, 2, 1));
        assert_eq!(ledger.stats()[SOURCE as usize].wasted_device_ms, 10);
    }

    #[test]
    fn the_look_up_that_finds_it_evicted_is_no_use_of_it() {
        let mut ledger = Ledger::new(0.3);
        for name in [1, 2] {
            ledger.made(guess(name, 10, 100));
            ledger.asked(&CacheKey([name; 32]), UnixMillis(5));
        }
        ledger.asked(&CacheKey([2; 32]), UnixMillis(6));
        ledger.lost(&CacheKey([1; 32]), UnixMillis(7));
        ledger.lost(&CacheKey([2; 32]), UnixMillis(7));
        assert_eq!(counts(&ledger), (2, 1, 1));
    }

    proptest! {
        #[test]
        fn in_the_end_all_that_was_made_was_used_or_wasted(
            steps in prop::collection::vec((0u8..3, 0u8..12, 1u64..60, 1u64..90), 1..200),
        ) {
            let mut ledger = Ledger::new(0.3);
            for (at, (what, name, until, lasts)) in (0u64..).zip(steps) {
                let at = at * 3;
                match what {
                    0 => ledger.made(guess(name, at + until, at + lasts)),
                    1 => ledger.asked(&CacheKey([name; 32]), UnixMillis(at)),
                    _ => ledger.lost(&CacheKey([name; 32]), UnixMillis(at)),
                }
                let (made, used, wasted) = counts(&ledger);
                prop_assert!(used + wasted <= made);
            }
            ledger.settle(UnixMillis(u64::MAX));
            let (made, used, wasted) = counts(&ledger);
            prop_assert_eq!(made, used + wasted);
            prop_assert!(ledger.awaited.is_empty() && ledger.by_time.is_empty());
        }
    }
}
