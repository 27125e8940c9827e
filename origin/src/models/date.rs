//! Today's date for chat templates that mention it.

use lede_shared::clock::UnixMillis;

use crate::clock;

const DAY_MS: u64 = 86_400_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was the first of these.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A day of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    weekday: &'static str,
}

impl Date {
    pub(super) fn today() -> Self {
        Self::of(clock::now())
    }

    /// The day of a point in time. Counts from the first of March of year 0, as Howard Hinnant's `civil_from_days`
    /// does, so that leap days come last.
    pub(super) fn of(at: UnixMillis) -> Self {
        let days_since_1970 = at.0 / DAY_MS;
        let days = days_since_1970 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_since_march = (5 * day_of_year + 2) / 153;
        let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * months_since_march + 2) / 5 + 1,
            weekday: WEEKDAYS[(days_since_1970 % 7) as usize],
        }
    }

    fn month_name(&self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
    }
}

/// strftime's directives for a date; a time of day reads as midnight. Unknown directives stay as they are.
pub(super) fn format(date: &Date, format: &str) -> String {
    let mut text = String::with_capacity(format.len() + 8);
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('Y') => text.push_str(&date.year.to_string()),
            Some('y') => text.push_str(&format!("{:02}", date.year % 100)),
            Some('m') => text.push_str(&format!("{:02}", date.month)),
            Some('d') => text.push_str(&format!("{:02}", date.day)),
            Some('B') => text.push_str(date.month_name()),
            Some('b') => text.push_str(&date.month_name()[..3]),
            Some('A') => text.push_str(date.weekday),
            Some('a') => text.push_str(&date.weekday[..3]),
            Some('H' | 'M' | 'S') => text.push_str("00"),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

/// `2026-11-21`
pub(crate) fn iso(at: UnixMillis) -> String {
    format(&Date::of(at), "%Y-%m-%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "Thursday 01 January 1970"),
            (951_782_400_000, "Tuesday 29 February 2000"),
            (951_868_799_999, "Tuesday 29 February 2000"),
            (951_868_800_000, "Wednesday 01 March 2000"),
            (4_107_542_400_000, "Monday 01 March 2100"),
        ] {
            assert_eq!(format(&Date::of(UnixMillis(ms)), "%A %d %B %Y"), expected);
        }
        assert_eq!(format(&Date::of(UnixMillis(0)), "%a, %d %b %y %H:%M %Q%%"), "Thu, 01 Jan 70 00:00 %Q%");
    }
}
