//! How much memory this process has.

/// Where Linux says it, in pages.
const STATM: &str = "/proc/self/statm";
/// On every machine that Linux's default configuration is for.
const PAGE_BYTES: u64 = 4_096;

/// Memory that is resident, where the system says it.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    std::fs::read_to_string(STATM).ok().and_then(|statm| resident_in(&statm))
}

fn resident_in(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_the_second_number() {
        assert_eq!(resident_in("300 25 7 1 0 9 0\n"), Some(25 * PAGE_BYTES));
        assert_eq!(resident_in(""), None);
    }
}
