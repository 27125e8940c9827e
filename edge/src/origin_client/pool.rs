//! What an isolate knows of its origins: which fail, which rest, and how many retries are left.
//!
//! An origin whose breaker has been open for its time is *doubtful*. No caller tries it while another origin can answer:
//! it is asked for `/health/ready` behind somebody's answer, and once it says yes, one caller's request goes to it as the
//! trial that closes the breaker or opens it again.

use std::cell::RefCell;

use lede_shared::breaker::{Breaker, BreakerSettings, Pass, RetryBudget};
use lede_shared::clock::UnixMillis;

const BREAKER: BreakerSettings = BreakerSettings { failures_to_open: 5, open_for_ms: 5_000 };
/// Retries in a hundred requests.
const RETRY_SHARE_PERCENT: u32 = 10;
/// Enough to open the breakers of three origins that fail together.
const RETRY_RESERVE: u32 = 20;
/// The longest time that an origin which is not ready is passed over on its own word.
const REST_MS_MAX: u64 = 10_000;
/// A trial whose request was cancelled never ends. After this, longer than any request lasts, another may try.
const TRIAL_MS_MAX: u64 = 60_000;

/// The pool's memory. Origins go by their position in the configuration.
#[derive(Debug)]
pub(crate) struct OriginPool(RefCell<State>);

#[derive(Debug)]
struct State {
    budget: RetryBudget,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    breaker: Breaker,
    /// The call that decides whether an open breaker closes, and when it began.
    trial: Option<(Pass, UnixMillis)>,
    /// When it last answered anybody.
    alive_at: UnixMillis,
    /// It has answered `/health/ready` since its breaker opened.
    has_said_ready: bool,
    /// It has said that it is not ready; until then it is asked only when there is nobody else.
    rests_until: UnixMillis,
}

/// The leave to ask one origin. Its outcome is to be told to [`OriginPool::report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// Position in the configuration.
    pub(crate) origin: usize,
    pass: Pass,
    since: UnixMillis,
}

/// What asking an origin has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It works, whatever it thinks of the request.
    Alive,
    /// It does not.
    Failing,
    /// It has not answered, and has had time to. That it does not work follows only when it has answered nobody else
    /// meanwhile: an origin with too much to do is slow and not gone.
    Silent,
    /// It is starting or stopping; asked again after this many milliseconds it may work.
    NotReady(u64),
    /// It has answered `/health/ready` with yes.
    Ready,
    /// The question was given up before it showed anything.
    Nothing,
}

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) picked: Option<Leave>,
    /// Those that were passed over and should be asked for their health behind the answer.
    pub(crate) doubtful: Vec<Leave>,
    /// When nobody was picked: how long until somebody may be asked again.
    pub(crate) wait_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Asked in its turn.
    Sound,
    /// Asked when nobody sound is left.
    Resting,
    /// The same, and should be probed.
    Doubtful,
    /// Not asked.
    Away { wait_ms: u64 },
}

impl Default for OriginPool {
    fn default() -> Self {
        let budget = RetryBudget::new(RETRY_SHARE_PERCENT, RETRY_RESERVE);
        Self(RefCell::new(State { budget, members: Vec::new() }))
    }
}

impl Default for Member {
    fn default() -> Self {
        let breaker = Breaker::new(BREAKER);
        let never = UnixMillis(0);
        Self { breaker, trial: None, alive_at: never, has_said_ready: false, rests_until: never }
    }
}

impl OriginPool {
    /// A request is made that is not a retry.
    pub(super) fn first_try(&self) {
        self.0.borrow_mut().budget.first_try();
    }

    /// Takes one retry out of the budget, if there is one.
    pub(super) fn take_retry(&self) -> bool {
        self.0.borrow_mut().budget.take()
    }

    /// The first of `candidates` that is sound; when none is, the first that is not known to fail now.
    pub(super) fn choose(&self, candidates: &[usize], now: UnixMillis) -> Choice {
        let mut state = self.0.borrow_mut();
        let standings = state.standings(candidates, now);
        let mut choice = Choice { wait_ms: u64::MAX, ..Choice::default() };
        choice.picked = state.pick(&standings, now, |standing| standing == Standing::Sound);
        if choice.picked.is_none() {
            choice.picked = state.pick(&standings, now, |standing| !matches!(standing, Standing::Away { .. }));
        }
        for (origin, standing) in standings {
            match standing {
                Standing::Doubtful if choice.picked.is_none_or(|picked| picked.origin != origin) => {
                    choice.doubtful.extend(state.member(origin).leave(origin, now));
                }
                Standing::Away { wait_ms } => choice.wait_ms = choice.wait_ms.min(wait_ms),
                _ => {}
            }
        }
        choice
    }

    /// The first of `candidates` that is sound.
    pub(super) fn choose_sound(&self, candidates: &[usize], now: UnixMillis) -> Option<Leave> {
        let mut state = self.0.borrow_mut();
        let standings = state.standings(candidates, now);
        state.pick(&standings, now, |standing| standing == Standing::Sound)
    }

    /// `candidates` with those in front that would be asked now.
    pub(super) fn sound_first(&self, candidates: Vec<usize>, now: UnixMillis) -> Vec<usize> {
        let standings = self.0.borrow_mut().standings(&candidates, now);
        let (sound, others): (Vec<_>, Vec<_>) =
            standings.into_iter().partition(|(_, standing)| *standing == Standing::Sound);
        sound.into_iter().chain(others).map(|(origin, _)| origin).collect()
    }

    /// Is `origin` passed over at the moment? To leave it is then no retry.
    pub(super) fn is_passed_over(&self, origin: usize, now: UnixMillis) -> bool {
        let mut state = self.0.borrow_mut();
        let member = state.member(origin);
        !member.breaker.is_closed() || now < member.rests_until
    }

    /// Tells what came of a call. Says whether that has opened the origin's breaker.
    pub(super) fn report(&self, leave: Leave, shown: Shown, now: UnixMillis) -> bool {
        self.0.borrow_mut().member(leave.origin).learn(leave, shown, now)
    }

    /// An answer of `origin` that had begun well broke off. Says whether that has opened its breaker.
    pub(super) fn report_broken_off(&self, origin: usize, now: UnixMillis) -> bool {
        let mut state = self.0.borrow_mut();
        let member = state.member(origin);
        let leave = member.leave(origin, now);
        leave.is_some_and(|leave| member.learn(leave, Shown::Failing, now))
    }
}

impl State {
    fn member(&mut self, origin: usize) -> &mut Member {
        if self.members.len() <= origin {
            self.members.resize_with(origin + 1, Member::default);
        }
        &mut self.members[origin]
    }

    fn standings(&mut self, candidates: &[usize], now: UnixMillis) -> Vec<(usize, Standing)> {
        candidates.iter().map(|origin| (*origin, self.member(*origin).standing(now))).collect()
    }

    fn pick(
        &mut self,
        standings: &[(usize, Standing)],
        now: UnixMillis,
        is_fit: fn(Standing) -> bool,
    ) -> Option<Leave> {
        let mut fit = standings.iter().filter(|(_, standing)| is_fit(*standing));
        fit.find_map(|(origin, _)| self.member(*origin).leave(*origin, now))
    }
}

impl Member {
    fn standing(&mut self, now: UnixMillis) -> Standing {
        if let Some((pass, _)) = self.trial.filter(|(_, since)| now.since(*since) > TRIAL_MS_MAX) {
            self.trial = None;
            self.breaker.abandoned(pass);
        }
        let open_for_ms = self.breaker.open_for_ms(now.0);
        if self.breaker.is_closed() {
            if now < self.rests_until { Standing::Resting } else { Standing::Sound }
        } else if open_for_ms > 0 || self.trial.is_some() {
            // Who waits for a trial to end cannot know for how long.
            Standing::Away { wait_ms: open_for_ms.max(1) }
        } else if self.has_said_ready {
            Standing::Sound
        } else {
            Standing::Doubtful
        }
    }

    fn leave(&mut self, origin: usize, now: UnixMillis) -> Option<Leave> {
        let pass = self.breaker.pass(now.0).ok()?;
        if !self.breaker.is_closed() {
            self.trial = Some((pass, now));
        }
        Some(Leave { origin, pass, since: now })
    }

    fn learn(&mut self, Leave { pass, since, .. }: Leave, shown: Shown, now: UnixMillis) -> bool {
        if self.trial.is_some_and(|(trial, _)| trial == pass) {
            self.trial = None;
        }
        let mut has_opened = false;
        match shown {
            Shown::Alive => {
                self.breaker.succeeded(pass);
                self.alive_at = now;
                self.rests_until = UnixMillis(0);
            }
            Shown::Silent if self.alive_at > since => self.breaker.abandoned(pass),
            Shown::Failing | Shown::Silent => has_opened = self.breaker.failed(pass, now.0),
            Shown::NotReady(wait_ms) => {
                self.breaker.abandoned(pass);
                self.rests_until = now.plus(wait_ms.min(REST_MS_MAX));
            }
            Shown::Ready | Shown::Nothing => self.breaker.abandoned(pass),
        }
        self.has_said_ready = match shown {
            Shown::Ready => true,
            Shown::NotReady(_) => false,
            _ => self.has_said_ready && !has_opened,
        };
        has_opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_000_000);

    /// Fails the only origin until its breaker opens at [`START`].
    fn broken() -> OriginPool {
        let pool = OriginPool::default();
        for _ in 0..BREAKER.failures_to_open {
            let leave = pool.choose(&[0], START).picked.unwrap();
            pool.report(leave, Shown::Failing, START);
        }
        pool
    }

    #[test]
    fn a_trial_that_never_ends_leaves_its_place_to_another_after_a_while() {
        let pool = broken();
        let now = START.plus(BREAKER.open_for_ms);
        assert!(pool.choose(&[0], now).picked.is_some(), "the trial, whose caller leaves");
        let choice = pool.choose(&[0], now.plus(TRIAL_MS_MAX));
        assert_eq!((choice.picked, choice.wait_ms), (None, 1), "one at a time");
        assert!(pool.choose(&[0], now.plus(TRIAL_MS_MAX + 1)).picked.is_some());
    }

    #[test]
    fn a_doubtful_origin_is_probed_by_one_and_tried_by_one_once_it_has_said_ready() {
        let pool = broken();
        let now = START.plus(BREAKER.open_for_ms);
        let first = pool.choose(&[0, 1], now);
        assert_eq!(first.picked.map(|leave| leave.origin), Some(1));
        let probe = first.doubtful[0];
        assert_eq!(probe.origin, 0);
        assert!(pool.choose(&[0, 1], now).doubtful.is_empty(), "one probe at a time");
        pool.report(probe, Shown::Ready, now);
        let trial = pool.choose(&[0, 1], now).picked.unwrap();
        assert_eq!(trial.origin, 0);
        assert_eq!(pool.choose(&[0, 1], now).picked.map(|leave| leave.origin), Some(1), "one trial at a time");
        assert!(pool.report(trial, Shown::Failing, now), "a failed trial opens the breaker again");
        assert!(
            pool.choose(&[0], now.plus(BREAKER.open_for_ms)).picked.is_some(),
            "asked when nobody else is left"
        );
    }

    #[test]
    fn silence_opens_a_breaker_unless_somebody_else_was_answered_meanwhile() {
        let (pool, later) = (OriginPool::default(), START.plus(1_000));
        let leaves = |count: u32| (0..count).map(|_| pool.choose(&[0], START).picked.unwrap()).collect::<Vec<_>>();
        let silent = leaves(BREAKER.failures_to_open);
        let (answered, waiting) = (leaves(1), leaves(2 * BREAKER.failures_to_open));
        let opened = |leaves: Vec<Leave>| leaves.into_iter().any(|leave| pool.report(leave, Shown::Silent, later));
        pool.report(answered[0], Shown::Alive, START.plus(500));
        assert!(!opened(waiting), "slow, not gone");
        let other = OriginPool::default();
        let has_opened: Vec<bool> =
            silent.into_iter().map(|leave| other.report(leave, Shown::Silent, later)).collect();
        assert_eq!(has_opened, [false, false, false, false, true]);
    }

    #[test]
    fn an_origin_that_is_not_ready_is_asked_only_when_there_is_nobody_else() {
        let pool = OriginPool::default();
        let leave = pool.choose(&[0, 1], START).picked.unwrap();
        pool.report(leave, Shown::NotReady(u64::MAX), START);
        let later = START.plus(REST_MS_MAX - 1);
        assert_eq!(pool.choose(&[0, 1], later).picked.map(|leave| leave.origin), Some(1));
        assert_eq!(pool.choose(&[0], later).picked.map(|leave| leave.origin), Some(0));
        assert_eq!(pool.choose_sound(&[0], later), None);
        assert_eq!(pool.sound_first(vec![0, 1], later), [1, 0]);
        assert_eq!(pool.sound_first(vec![0, 1], START.plus(REST_MS_MAX)), [0, 1]);
    }
}
