//! What isolates and ledgers send and store: decimal numbers with a space between them, a version before them.
//!
//! Both ends are the same program, nearly always of the same version, and all there is are numbers. As JSON it took 30 KiB
//! of the Worker's code.

use super::{
    CellsLeft, GrantedLease, LEASES_MAX, LeaseAnswer, LeaseQuestion, LeaseRefusal, LeaseReport, Limit, Limits,
};

const VERSION: u64 = 1;

/// The text is not of this version, or not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of this version")]
pub struct WireError;

/// Writes numbers.
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn new() -> Self {
        Self(VERSION.to_string())
    }

    pub(super) fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0.push(' ');
            self.0.push_str(&number.to_string());
        }
    }

    /// How many, and then each.
    pub(super) fn list<T, const N: usize>(&mut self, items: &[T], numbers: impl Fn(&T) -> [u64; N]) {
        self.numbers(&[items.len() as u64]);
        for item in items {
            self.numbers(&numbers(item));
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Reads them.
pub(super) struct Reader<'a>(std::str::Split<'a, char>);

impl<'a> Reader<'a> {
    /// After the version, when it is this one.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut reader = Self(text.split(' '));
        (reader.number()? == VERSION).then_some(reader)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let digits = self.0.next()?;
        // `parse` takes a sign as well.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    pub(super) fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Some(numbers)
    }

    pub(super) fn list<T>(&mut self, items_max: usize, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= items_max)?;
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.0.next().is_none()
    }
}

impl LeaseQuestion {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let Limits { cells_per_minute, burst_cells, daily_cells } = self.limits;
        let mut writer = Writer::new();
        writer.numbers(&[u64::from(cells_per_minute), u64::from(burst_cells), daily_cells]);
        writer.numbers(&[self.cells_needed, self.cells_wanted, self.cells_worthwhile]);
        writer.list(&self.reports, |report| {
            let LeaseReport { lease, cells_kept, cells_returned, spent_ago_ms } = *report;
            [lease, cells_kept, cells_returned, spent_ago_ms]
        });
        writer.finish()
    }

    /// Reads what [`LeaseQuestion::encode`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(text: &str) -> Result<Self, WireError> {
        Self::read(text).ok_or(WireError)
    }

    fn read(text: &str) -> Option<Self> {
        let mut reader = Reader::of(text)?;
        let [cells_per_minute, burst_cells, daily_cells] = reader.numbers()?;
        let [cells_needed, cells_wanted, cells_worthwhile] = reader.numbers()?;
        let report = |reader: &mut Reader<'_>| {
            let [lease, cells_kept, cells_returned, spent_ago_ms] = reader.numbers()?;
            Some(LeaseReport { lease, cells_kept, cells_returned, spent_ago_ms })
        };
        let reports = reader.list(LEASES_MAX, report)?;
        let limits = Limits {
            cells_per_minute: u32::try_from(cells_per_minute).ok()?,
            burst_cells: u32::try_from(burst_cells).ok()?,
            daily_cells,
        };
        let question = Self { limits, cells_needed, cells_wanted, cells_worthwhile, reports };
        reader.is_at_end().then_some(question)
    }
}

impl LeaseAnswer {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        writer.list(self.lease.as_slice(), |GrantedLease { lease, cells, duration_ms }| {
            [*lease, *cells, *duration_ms]
        });
        writer.list(self.refusal.as_slice(), |LeaseRefusal { limit, wait_ms }| {
            [u64::from(*limit == Limit::Daily), u64::from(wait_ms.is_some()), wait_ms.unwrap_or(0)]
        });
        writer.numbers(&[self.ask_again_ms, self.left.burst, self.left.daily]);
        writer.finish()
    }

    /// Reads what [`LeaseAnswer::encode`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(text: &str) -> Result<Self, WireError> {
        Self::read(text).ok_or(WireError)
    }

    fn read(text: &str) -> Option<Self> {
        let mut reader = Reader::of(text)?;
        let granted = |reader: &mut Reader<'_>| {
            let [lease, cells, duration_ms] = reader.numbers()?;
            Some(GrantedLease { lease, cells, duration_ms })
        };
        let refused = |reader: &mut Reader<'_>| {
            let [is_daily, waits, wait_ms] = reader.numbers()?;
            let limit = if is_daily == 0 { Limit::Burst } else { Limit::Daily };
            Some(LeaseRefusal { limit, wait_ms: (waits != 0).then_some(wait_ms) })
        };
        let lease = reader.list(1, granted)?.pop();
        let refusal = reader.list(1, refused)?.pop();
        let [ask_again_ms, burst, daily] = reader.numbers()?;
        let answer = Self { lease, refusal, ask_again_ms, left: CellsLeft { burst, daily } };
        reader.is_at_end().then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_question()(
            limits in any::<(u32, u32, u64)>(), cells in any::<(u64, u64, u64)>(),
            reports in prop::collection::vec(any::<(u64, u64, u64, u64)>(), 0..10),
        ) -> LeaseQuestion {
            let report = |(lease, cells_kept, cells_returned, spent_ago_ms)| {
                LeaseReport { lease, cells_kept, cells_returned, spent_ago_ms }
            };
            LeaseQuestion {
                limits: Limits { cells_per_minute: limits.0, burst_cells: limits.1, daily_cells: limits.2 },
                cells_needed: cells.0, cells_wanted: cells.1, cells_worthwhile: cells.2,
                reports: reports.into_iter().map(report).collect(),
            }
        }
    }

    prop_compose! {
        fn any_answer()(
            lease in any::<Option<(u64, u64, u64)>>(), refusal in any::<Option<(bool, Option<u64>)>>(),
            (ask_again_ms, burst, daily) in any::<(u64, u64, u64)>(),
        ) -> LeaseAnswer {
            let granted = |(lease, cells, duration_ms)| GrantedLease { lease, cells, duration_ms };
            let refused = |(is_daily, wait_ms)| {
                LeaseRefusal { limit: if is_daily { Limit::Daily } else { Limit::Burst }, wait_ms }
            };
            LeaseAnswer {
                lease: lease.map(granted), refusal: refusal.map(refused), ask_again_ms, left: CellsLeft { burst, daily },
            }
        }
    }

    proptest! {
        #[test]
        fn a_question_and_an_answer_arrive_as_they_were_sent(question in any_question(), answer in any_answer()) {
            prop_assert_eq!(LeaseQuestion::decode(&question.encode()).unwrap(), question);
            prop_assert_eq!(LeaseAnswer::decode(&answer.encode()).unwrap(), answer);
        }

        #[test]
        fn what_is_cut_or_longer_is_refused(question in any_question(), answer in any_answer()) {
            for text in [question.encode(), answer.encode()] {
                let cut = text.rfind(' ').unwrap();
                for wrong in [&text[..cut], &format!("{text} 1"), &text.replacen('1', "2", 1)[..]] {
                    let version_is_wrong = !wrong.starts_with("1 ");
                    prop_assert!(LeaseQuestion::decode(wrong).is_err() || !version_is_wrong && wrong != text);
                    prop_assert!(LeaseAnswer::decode(wrong).is_err() || !version_is_wrong && wrong != text);
                }
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[0-9 +-]{0,200}|\\PC*") {
            let _ = (LeaseQuestion::decode(&text), LeaseAnswer::decode(&text), super::super::Ledger::decode(&text));
        }
    }
}
