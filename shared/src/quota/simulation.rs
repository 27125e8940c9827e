//! The whole quota with its isolates in one process: whatever happens to messages, isolates and the ledger, no window
//! holds more than burst + rate × window; and under steady demand nearly all of it is used, with few questions.

use proptest::prelude::*;

use super::*;
use crate::clock::{DAY_MS, UnixMillis};
use crate::gcra::{Quota, UnixNanos};

/// Two minutes before midnight.
const BEGIN_MS: u64 = 20_000 * DAY_MS - 120_000;

/// A question on its way, or its answer on the way back.
struct Message {
    isolate: usize,
    /// Which life of the isolate sent it; nobody is there for the answers of earlier ones.
    life: u32,
    sent: UnixMillis,
    question: LeaseQuestion,
    /// What the request costs that waits for the answer; 0 without one.
    cells: u64,
    answer: Option<LeaseAnswer>,
}

struct Isolate {
    book: LeaseBook,
    life: u32,
    clock_ahead_ms: u64,
    /// How long its clock has stood still.
    clock_lag_ms: u64,
    /// With the place of the admission among all.
    under_way: Vec<(Reservation, usize)>,
}

impl Isolate {
    fn new(clock_ahead_ms: u64, life: u32) -> Self {
        Self { book: LeaseBook::new(UnixMillis(0)), life, clock_ahead_ms, clock_lag_ms: 0, under_way: Vec::new() }
    }

    fn now(&self, now_ms: u64) -> UnixMillis {
        UnixMillis(now_ms + self.clock_ahead_ms - self.clock_lag_ms)
    }
}

/// What becomes of a request that the book cannot decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    IsAsked,
    IsRefused,
}

struct World {
    now_ms: u64,
    limits: Limits,
    ledger: Ledger,
    isolates: Vec<Isolate>,
    messages: Vec<Message>,
    /// When, and how many cells.
    admitted: Vec<(u64, u64)>,
    questions: u64,
    requests: u64,
}

impl World {
    fn new(limits: Limits, isolates: u64) -> Self {
        Self {
            now_ms: BEGIN_MS,
            limits,
            ledger: Ledger::new(UnixMillis(BEGIN_MS)),
            isolates: (0..isolates).map(|index| Isolate::new(100_000 + index * 777_777, 0)).collect(),
            messages: Vec::new(),
            admitted: Vec::new(),
            questions: 0,
            requests: 0,
        }
    }

    /// Admits, refuses, or sends a question.
    fn request(&mut self, index: usize, cells: u64, unknown: Unknown) {
        let now_ms = self.now_ms;
        let isolate = &mut self.isolates[index];
        let now = isolate.now(now_ms);
        match isolate.book.reserve(now, cells, &self.limits) {
            Outcome::Admitted(reservation) => {
                isolate.under_way.push((reservation, self.admitted.len()));
                self.admitted.push((now_ms, cells));
                self.requests += 1;
            }
            Outcome::Refused(_) => {}
            Outcome::Ask if unknown == Unknown::IsAsked => self.ask(index, cells, 0),
            Outcome::Ask => {}
        }
    }

    /// The isolate would like as much as its book says, or `cells_wanted` when that is more.
    fn ask(&mut self, index: usize, cells: u64, cells_wanted: u64) {
        let isolate = &mut self.isolates[index];
        let sent = isolate.now(self.now_ms);
        let mut question = isolate.book.question(sent, cells, self.limits);
        question.cells_wanted = question.cells_wanted.max(cells_wanted);
        self.messages.push(Message { isolate: index, life: isolate.life, sent, question, cells, answer: None });
        self.questions += 1;
    }

    /// The ledger answers, or the answer arrives.
    fn deliver(&mut self, index: usize) {
        let message = &mut self.messages[index];
        if message.answer.is_none() {
            message.answer = Some(self.ledger.answer(UnixMillis(self.now_ms), &message.question));
            return;
        }
        let Message { isolate: index, life, sent, question, cells, answer } = self.messages.remove(index);
        let isolate = &mut self.isolates[index];
        let Some(answer) = answer.filter(|_| isolate.life == life) else { return };
        let now = isolate.now(self.now_ms);
        isolate.book.record((sent, now), &question, &answer);
        if cells > 0 {
            self.request(index, cells, Unknown::IsRefused);
        }
    }

    /// Every window at once: a bucket that drains at the rate, filled by what was admitted, never runs over.
    fn check(&self) -> Result<(), TestCaseError> {
        let quota = Quota::new(self.limits.cells_per_minute, self.limits.burst_cells);
        let mut tat = UnixNanos(0);
        for (at_ms, cells) in &self.admitted {
            let decided = quota.decide(UnixNanos::from_ms(*at_ms), tat, *cells);
            prop_assert!(decided.is_ok(), "{cells} cells too many at {at_ms}: {:?}", self.admitted);
            tat = decided.unwrap();
        }
        for day in [BEGIN_MS / DAY_MS, BEGIN_MS / DAY_MS + 1, BEGIN_MS / DAY_MS + 2] {
            let of_day = self.admitted.iter().filter(|(at_ms, _)| at_ms / DAY_MS == day);
            prop_assert!(of_day.map(|(_, cells)| cells).sum::<u64>() <= self.limits.daily_cells, "day {day}");
        }
        Ok(())
    }
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(u64),
    Request {
        isolate: usize,
        cells: u64,
    },
    /// Every request of the isolate that is under way ends and has cost what it reserved.
    Finish {
        isolate: usize,
    },
    Renew {
        isolate: usize,
        cells_wanted: u64,
    },
    /// Every message arrives, and the answers to those that were questions.
    DeliverAll,
    Deliver(usize),
    Lose(usize),
    /// The ledger gets a question twice, and its second answer is lost.
    Double(usize),
    Settle {
        isolate: usize,
        spent: u64,
    },
    LoseIsolate {
        isolate: usize,
    },
    /// Its clock stands still while code runs.
    Lag {
        isolate: usize,
        lag_ms: u64,
    },
    ReloadLedger,
    LoseLedger,
}

fn any_event() -> impl Strategy<Value = Event> {
    // Two of them get most of the work: what one does to another takes several steps of each.
    let isolate = prop_oneof![4 => 0usize..2, 1 => 0usize..8].boxed();
    prop_oneof![
        4 => (0u64..3_000).prop_map(Event::Wait),
        3 => (0u64..30_000).prop_map(Event::Wait),
        12 => (isolate.clone(), 1u64..=8).prop_map(|(isolate, cells)| Event::Request { isolate, cells }),
        6 => (isolate.clone(), 1u64..=60).prop_map(|(isolate, cells)| Event::Request { isolate, cells }),
        8 => (isolate.clone(), 0u64..60).prop_map(|(isolate, cells_wanted)| Event::Renew { isolate, cells_wanted }),
        8 => Just(Event::DeliverAll),
        6 => (0usize..16).prop_map(Event::Deliver),
        1 => (0usize..16).prop_map(Event::Lose),
        1 => (0usize..16).prop_map(Event::Double),
        12 => isolate.clone().prop_map(|isolate| Event::Finish { isolate }),
        4 => isolate.clone().prop_map(|isolate| Event::Settle { isolate, spent: 0 }),
        4 => (isolate.clone(), 0u64..30).prop_map(|(isolate, spent)| Event::Settle { isolate, spent }),
        1 => isolate.clone().prop_map(|isolate| Event::LoseIsolate { isolate }),
        1 => (isolate, 0u64..=CLOCK_LAG_MS_MAX).prop_map(|(isolate, lag_ms)| Event::Lag { isolate, lag_ms }),
        1 => Just(Event::ReloadLedger),
        1 => prop::bool::weighted(0.05).prop_map(|lost| if lost { Event::LoseLedger } else { Event::ReloadLedger }),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Wait(ms) => world.now_ms += ms,
        Event::Request { isolate, cells } => world.request(isolate, cells, Unknown::IsAsked),
        Event::Finish { isolate } => {
            let isolate = &mut world.isolates[isolate];
            for (reservation, admission) in std::mem::take(&mut isolate.under_way) {
                isolate.book.settle(reservation, world.admitted[admission].1);
            }
        }
        Event::Renew { isolate, cells_wanted } => world.ask(isolate, 0, cells_wanted),
        Event::DeliverAll => {
            for _ in 0..2 * world.messages.len() {
                world.deliver(0);
                if world.messages.is_empty() {
                    break;
                }
            }
        }
        Event::Deliver(index) if index < world.messages.len() => world.deliver(index),
        Event::Lose(index) if index < world.messages.len() => drop(world.messages.remove(index)),
        Event::Double(index) if index < world.messages.len() => {
            let question = world.messages[index].question.clone();
            world.ledger.answer(UnixMillis(world.now_ms), &question);
        }
        Event::Deliver(_) | Event::Lose(_) | Event::Double(_) => {}
        Event::Settle { isolate, spent } => {
            let isolate = &mut world.isolates[isolate];
            if !isolate.under_way.is_empty() {
                let (reservation, admission) = isolate.under_way.remove(0);
                let cells = &mut world.admitted[admission].1;
                *cells = spent.min(*cells);
                isolate.book.settle(reservation, *cells);
            }
        }
        Event::LoseIsolate { isolate } => {
            let lost = &world.isolates[isolate];
            world.isolates[isolate] = Isolate::new(lost.clock_ahead_ms, lost.life + 1);
        }
        Event::Lag { isolate, lag_ms } => world.isolates[isolate].clock_lag_ms = lag_ms,
        Event::ReloadLedger => world.ledger = Ledger::decode(&world.ledger.encode()).unwrap(),
        Event::LoseLedger => world.ledger = Ledger::after_loss(UnixMillis(world.now_ms), &world.limits),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn no_window_holds_more_than_burst_and_refill_and_no_day_more_than_its_cells(
        events in prop::collection::vec(any_event(), 0..400),
        cells_per_minute in 20u32..2_000, burst_cells in 1u32..60, daily_cells in 20u64..500,
    ) {
        let mut world = World::new(Limits { cells_per_minute, burst_cells, daily_cells }, 8);
        for event in events {
            happen(&mut world, event);
        }
        world.check()?;
    }
}

/// A small generator, so that the figures are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What a run showed.
#[derive(Debug)]
struct Figures {
    cells_admitted: u64,
    cells_of_quota: u64,
    share_admitted: f64,
    questions_per_1000_requests: f64,
}

const OPERATIONS: u64 = 100_000;

/// Callers ask for `demand` times the rate, every twentieth request for a caption that has to be generated; a question
/// takes 20 to 60 ms, and its isolate refuses until the answer is there whom it cannot admit.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small figures"
)]
fn run(limits: Limits, demand: f64, lost_isolates_per_10000: u64) -> (World, Figures) {
    let (mut world, mut dice) = (World::new(limits, 8), Dice(0x9e37_79b9_7f4a_7c15));
    let cells_mean = 0.95 + 0.05 * 10.0;
    let gap_us = (cells_mean * 60_000_000.0 / (f64::from(limits.cells_per_minute) * demand)) as u64;
    let (mut clock_us, mut due) = (0, Vec::<u64>::new());
    for _ in 0..OPERATIONS {
        clock_us += dice.below(2 * gap_us + 1);
        world.now_ms = BEGIN_MS + clock_us / 1_000;
        while let Some(index) = due.iter().position(|due_ms| *due_ms <= world.now_ms) {
            // The ledger answers half way, which makes no difference to a ledger that is asked in order.
            world.deliver(index);
            world.deliver(index);
            due.remove(index);
        }
        let index = dice.below(8) as usize;
        let cells = if dice.below(20) == 0 { 10 } else { 1 };
        if dice.below(10_000) < lost_isolates_per_10000 {
            happen(&mut world, Event::LoseIsolate { isolate: index });
        }
        let asking = world.messages.iter().any(|message| message.isolate == index);
        world.request(index, cells, if asking { Unknown::IsRefused } else { Unknown::IsAsked });
        let isolate = &world.isolates[index];
        let asked = world.messages.iter().any(|message| message.isolate == index);
        if !asked && isolate.book.wants_renewal(isolate.now(world.now_ms)) {
            world.ask(index, 0, 0);
        }
        while due.len() < world.messages.len() {
            due.push(world.now_ms + 20 + dice.below(40));
        }
        happen(&mut world, Event::Settle { isolate: index, spent: u64::MAX });
    }
    let cells_admitted = world.admitted.iter().map(|(_, cells)| cells).sum::<u64>();
    let cells_of_quota =
        u64::from(limits.burst_cells) + clock_us * u64::from(limits.cells_per_minute) / 60_000_000;
    let figures = Figures {
        cells_admitted,
        cells_of_quota,
        share_admitted: cells_admitted as f64 / cells_of_quota as f64,
        questions_per_1000_requests: world.questions as f64 * 1_000.0 / world.requests as f64,
    };
    (world, figures)
}

const BUSY: Limits = Limits { cells_per_minute: 60_000, burst_cells: 10_000, daily_cells: u64::MAX >> 4 };

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what this test is for")]
fn eight_isolates_and_100_000_operations_admit_nearly_all_of_the_quota_and_never_more() {
    let standard = Limits { daily_cells: u64::MAX >> 4, ..Limits::of(&Plan::default()) };
    for (name, limits, demand, lost, share_min, questions_max) in [
        ("1,000 cells/s, demand 2.0", BUSY, 2.0, 0, 0.95, 20.0),
        ("1,000 cells/s, demand 1.1", BUSY, 1.1, 0, 0.95, 20.0),
        ("1,000 cells/s, demand 0.5", BUSY, 0.5, 0, 0.4, 20.0),
        ("1,000 cells/s, demand 2.0, isolates lost", BUSY, 2.0, 2, 0.9, 20.0),
        ("standard plan, demand 2.0", standard, 2.0, 0, 0.95, 1_000.0),
        ("standard plan, demand 0.5", standard, 0.5, 0, 0.4, 1_000.0),
    ] {
        let (world, figures) = run(limits, demand, lost);
        println!("{name}: {figures:.3?}");
        world.check().unwrap();
        assert!(figures.cells_admitted <= figures.cells_of_quota, "{name}: {figures:?}");
        assert!(figures.share_admitted >= share_min, "{name}: {figures:?}");
        assert!(figures.questions_per_1000_requests <= questions_max, "{name}: {figures:?}");
    }
}
