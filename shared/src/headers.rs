//! Every header that Lede names, named once. All lower case, as HTTP/2 wants them.

/// Finds one request in all logs; taken over from the caller when well formed.
pub const X_REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// RFC 9211: which cache answered, and why not when it did not.
pub const CACHE_STATUS: &str = "cache-status";
/// What is left of each quota (draft-ietf-httpapi-ratelimit-headers-11), in cells.
pub const RATELIMIT: &str = "ratelimit";
/// The quotas themselves (the same draft), in cells.
pub const RATELIMIT_POLICY: &str = "ratelimit-policy";
/// Where the milliseconds went.
pub const SERVER_TIMING: &str = "server-timing";
/// Edge → origin: the point in time (Unix milliseconds) after which nobody waits for the answer.
pub const X_DEADLINE_MS: &str = "x-deadline-ms";

/// What a caller asks for as the priority of one request: `low`, `normal`, `high` or `critical`, and never more than the
/// plan of its key has. Any other word counts as none.
pub const X_PRIORITY: &str = "x-priority";

/// Edge → origin: `v2=` and 64 hex digits, see [`crate::signature`].
pub const X_LEDE_SIGNATURE: &str = "x-lede-signature";
/// Edge → origin: which signing key was used, so that keys can be rotated.
pub const X_LEDE_KEY_ID: &str = "x-lede-key-id";
/// Edge → origin: what the edge knows of the caller, see [`crate::signature::Claims`].
pub const X_LEDE_CLAIMS: &str = "x-lede-claims";
/// Edge → origin: when the request was signed, Unix milliseconds.
pub const X_LEDE_TIMESTAMP_MS: &str = "x-lede-timestamp-ms";
/// Edge → origin: 32 hex digits, used once.
pub const X_LEDE_NONCE: &str = "x-lede-nonce";

/// Media type of a batch's results one by one: a line of JSON for each.
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of a problem document (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Media type of an answer that is told as it is written, as it is announced.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// The same without parameters, as it is asked for.
pub const EVENT_STREAM_ESSENCE: &str = "text/event-stream";
/// Keeps proxies of the nginx family from collecting a stream before they pass it on.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";

/// Is this a `traceparent` that may be passed on? Version 00: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
#[must_use]
pub fn traceparent_is_valid(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(5, '-').collect();
    let [version, trace_id, parent_id, flags] = parts.as_slice() else {
        return false;
    };
    let lower_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
    *version == "00"
        && lower_hex(trace_id, 32)
        && lower_hex(parent_id, 16)
        && lower_hex(flags, 2)
        && not_zero(trace_id)
        && not_zero(parent_id)
}

/// Does this `Content-Type` announce JSON? Parameters such as `charset` are allowed, other types are not.
#[must_use]
pub fn content_type_is_json(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Does this `Accept` name `media_type` itself, without refusing it (`q=0`)? Ranges such as `*/*` do not count: who wants
/// something other than the usual says so.
#[must_use]
pub fn accept_names(value: &str, media_type: &str) -> bool {
    value.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(media_type));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        assert!(traceparent_is_valid("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(!traceparent_is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn json_is_recognised_with_and_without_parameters() {
        assert!(content_type_is_json("application/json"));
        assert!(content_type_is_json("Application/JSON; charset=utf-8"));
        assert!(!content_type_is_json("text/plain"));
        assert!(!content_type_is_json("application/jsonp"));
    }

    #[test]
    fn a_media_type_is_accepted_when_it_is_named_and_not_refused() {
        for accept in [NDJSON, "Application/X-NDJSON;q=0.5", "application/json, application/x-ndjson ; q=1"] {
            assert!(accept_names(accept, NDJSON), "{accept}");
        }
        for accept in ["", "*/*", "application/*", "application/json", "application/x-ndjson;q=0", "x-ndjson"] {
            assert!(!accept_names(accept, NDJSON), "{accept}");
        }
    }
}
