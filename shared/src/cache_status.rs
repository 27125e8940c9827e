//! `Cache-Status` (RFC 9211): each cache on the way says what it did; the one nearest the caller comes last.

use std::fmt;

/// What one cache did with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Answered from here; seconds of freshness left (negative: stale).
    Hit {
        /// Seconds until the answer is stale; below zero when it is.
        ttl_s: i64,
    },
    /// Went on to the next cache.
    Forwarded {
        /// Why.
        why: ForwardReason,
        /// Was the answer kept here?
        stored: bool,
        /// Did this request wait for another's answer?
        collapsed: bool,
    },
}

/// Why a cache went on (the values of `fwd` that Lede uses).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardReason {
    /// Nothing was kept under the key.
    UriMiss,
    /// What was kept is too old.
    Stale,
    /// The caller asked for it (`no-cache`, `max-age`).
    Request,
    /// The cache was not asked.
    Bypass,
}

/// One member of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// Which side: `lede-edge` or `lede-origin`.
    pub cache: &'static str,
    /// What it did.
    pub outcome: CacheOutcome,
    /// The tier that answered, or why nothing was kept.
    pub detail: Option<&'a str>,
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.cache)?;
        match self.outcome {
            CacheOutcome::Hit { ttl_s } => write!(formatter, "; hit; ttl={ttl_s}")?,
            CacheOutcome::Forwarded { why, stored, collapsed } => {
                let why = match why {
                    ForwardReason::UriMiss => "uri-miss",
                    ForwardReason::Stale => "stale",
                    ForwardReason::Request => "request",
                    ForwardReason::Bypass => "bypass",
                };
                write!(formatter, "; fwd={why}")?;
                if stored {
                    formatter.write_str("; stored")?;
                }
                if collapsed {
                    formatter.write_str("; collapsed")?;
                }
            }
        }
        self.detail.map_or(Ok(()), |detail| write!(formatter, "; detail={detail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_names_its_tier() {
        let outcome = CacheOutcome::Hit { ttl_s: 280 };
        let status = CacheStatus { cache: "lede-edge", outcome, detail: Some("workers_kv") };
        assert_eq!(status.to_string(), "lede-edge; hit; ttl=280; detail=workers_kv");
    }

    #[test]
    fn a_miss_says_whether_it_was_kept_and_whether_it_waited_for_another() {
        let outcome = CacheOutcome::Forwarded { why: ForwardReason::UriMiss, stored: true, collapsed: true };
        let status = CacheStatus { cache: "lede-origin", outcome, detail: None };
        assert_eq!(status.to_string(), "lede-origin; fwd=uri-miss; stored; collapsed");
    }
}
