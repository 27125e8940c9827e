//! Captions by the remote provider: asked for all variants at once, and again for those that broke a rule.

use std::time::{Duration, Instant};

use lede_shared::api::ValidRequest;
use lede_shared::api::text::fold_case;
use lede_shared::policy::POLICY;

use super::CaptionError;
use super::generation::Cost;
use super::instructions::{self, ChatMessage};
use super::proposal::{self, Broken};
use crate::engine::constraint::CaptionRules;
use crate::remote::{Ask, CallError, ContentFault, Message, Proposal, Remote, RemoteError, Written};

/// How often the provider is asked in all, about one request.
const ROUNDS_MAX: usize = 3;
/// What a caller is told to wait while the provider fails or is full.
const RETRY_AFTER_S: u32 = 2;
/// The longest wait that a caller is told.
const RETRY_AFTER_MAX_S: u32 = 60;

/// One caption and the names of its hashtags. Both keep every rule.
pub(super) type WrittenVariant = (String, Vec<String>);

/// All variants of `request`, which keep `rules`.
///
/// # Errors
/// `GenerationFailed` when too little of what came back keeps the rules; see also [`RemoteError`].
pub(super) async fn write(
    remote: &Remote,
    request: &ValidRequest,
    rules: &CaptionRules,
    deadline: Instant,
) -> Result<(Vec<WrittenVariant>, Cost), CaptionError> {
    let mut collected = Collected::new(rules, usize::from(request.variants()));
    let mut cost = Cost::default();
    for round in 0..ROUNDS_MAX {
        let messages = collected.messages(request);
        let messages: Vec<Message<'_>> =
            messages.iter().map(|message| Message { role: message.role, content: &message.content }).collect();
        let ask = Ask {
            messages: &messages,
            variants: collected.lacking(),
            seed: request.seed(),
            is_again: round > 0,
            deadline,
        };
        let written = remote.write(&ask).await.map_err(|error| not_written(&error))?;
        add(&mut cost, &written);
        match written.proposals {
            Ok(proposals) => collected.add(proposals),
            Err(fault) => {
                tracing::warn!(%fault, round, "nothing that the provider wrote can be used");
                if fault == ContentFault::Refused {
                    return Err(CaptionError::GenerationFailed);
                }
            }
        }
        if collected.lacking() == 0 {
            return Ok((collected.complete(), cost));
        }
    }
    Err(CaptionError::GenerationFailed)
}

/// What has been written so far for one request.
struct Collected<'a> {
    rules: &'a CaptionRules,
    wanted: usize,
    /// Different captions that keep the rules, with the proposals that they come from.
    kept: Vec<(String, Proposal)>,
    /// All hashtags that were proposed: where one caption has too few, another's will do.
    hashtags: Vec<String>,
    /// Rules that the last proposals broke.
    broken: Vec<Broken>,
}

impl<'a> Collected<'a> {
    const fn new(rules: &'a CaptionRules, wanted: usize) -> Self {
        Self { rules, wanted, kept: Vec::new(), hashtags: Vec::new(), broken: Vec::new() }
    }

    fn add(&mut self, proposals: Vec<Proposal>) {
        self.broken.clear();
        for proposal in proposals {
            self.hashtags.extend(proposal.hashtags.iter().cloned());
            match proposal::caption(&proposal, self.rules) {
                Ok(caption) => {
                    let is_same = |(kept, _): &(String, Proposal)| fold_case(kept) == fold_case(&caption);
                    if !self.kept.iter().any(is_same) {
                        self.kept.push((caption, proposal));
                    }
                }
                Err(broken) => self.broken.push(broken),
            }
        }
        if self.complete().len() < self.kept.len().min(self.wanted) {
            self.broken.push(Broken::Hashtags);
        }
        self.broken.sort_unstable();
        self.broken.dedup();
        if !self.broken.is_empty() {
            let rules: Vec<String> = self.broken.iter().map(ToString::to_string).collect();
            tracing::info!(rules = rules.join(", "), "what the provider wrote breaks rules");
        }
    }

    /// Captions that have all of their hashtags, as many as are wanted.
    fn complete(&self) -> Vec<WrittenVariant> {
        let with_hashtags = self.kept.iter().filter_map(|(caption, proposal)| {
            let names = proposal::hashtags(proposal, &self.hashtags, self.rules).ok()?;
            let hashtags: Vec<String> = names.iter().map(|name| format!("#{name}")).collect();
            let is_postable = POLICY.is_postable(caption, &POLICY.post_text(caption, &hashtags));
            is_postable.then(|| (caption.clone(), names))
        });
        with_hashtags.take(self.wanted).collect()
    }

    fn lacking(&self) -> usize {
        self.wanted - self.complete().len()
    }

    /// The instructions, with how many captions are wanted and what was wrong with the last ones.
    fn messages(&self, request: &ValidRequest) -> Vec<ChatMessage> {
        let mut messages = instructions::messages(request);
        let Some(last) = messages.last_mut() else { return messages };
        let lacking = self.lacking();
        let wanted = format!(
            "\n\nWrite {lacking} such captions, each with its hashtags and none like another. Answer with one JSON \
             object: {{\"variants\": [{{\"caption\": \"...\", \"hashtags\": [\"...\"]}}]}} with {lacking} in the list."
        );
        last.content.push_str(&wanted);
        if !self.broken.is_empty() {
            let broken: Vec<String> = self.broken.iter().map(ToString::to_string).collect();
            last.content.push_str(" An earlier answer could not be used: ");
            last.content.push_str(&broken.join("; "));
            last.content.push('.');
        }
        messages
    }
}

fn add(cost: &mut Cost, written: &Written) {
    cost.prompt_tokens += written.prompt_tokens as usize;
    cost.completion_tokens += written.completion_tokens as usize;
    cost.waited = Some(Duration::ZERO);
    let first = cost.ran.map_or(written.ran.0, |(first, _)| first);
    cost.ran = Some((first, written.ran.1));
}

fn not_written(error: &RemoteError) -> CaptionError {
    let whole_seconds = |wait: Duration| u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    let told = |wait: Duration| whole_seconds(wait).clamp(1, RETRY_AFTER_MAX_S);
    match error {
        RemoteError::LeftAlone { wait_ms } => {
            CaptionError::NotReady { retry_after_s: told(Duration::from_millis(*wait_ms)) }
        }
        RemoteError::Full => CaptionError::Overloaded { retry_after_s: RETRY_AFTER_S },
        RemoteError::DeadlineExceeded => CaptionError::DeadlineExceeded,
        RemoteError::BudgetSpent => CaptionError::GenerationFailed,
        RemoteError::Failed(cause) => {
            tracing::warn!(%cause, "the provider failed");
            let retry_after_s = cause.retry_after().map_or(RETRY_AFTER_S, told);
            match cause {
                CallError::Status { status: 429, .. } => CaptionError::Overloaded { retry_after_s },
                _ => CaptionError::NotReady { retry_after_s },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::api::CaptionRequest;
    use serde_json::json;

    use super::*;

    fn rules() -> CaptionRules {
        CaptionRules {
            banned: vec!["cheap".to_owned()],
            hashtag_count: 2,
            caption_utf16_max: 60,
            ..CaptionRules::default()
        }
    }

    fn proposal(caption: &str, hashtags: &[&str]) -> Proposal {
        Proposal { caption: caption.to_owned(), hashtags: hashtags.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn only_what_keeps_the_rules_is_kept_and_the_rest_is_asked_for_again_with_the_reason() {
        let rules = rules();
        let mut collected = Collected::new(&rules, 2);
        collected.add(vec![proposal("Slow light.", &["sun", "sea"]), proposal("Cheap light.", &["a1", "sky"])]);
        assert_eq!(collected.lacking(), 1);
        let body = json!({ "content_description": "x", "variants": 2 }).to_string();
        let request = CaptionRequest::from_json(body.as_bytes()).unwrap().validate().unwrap();
        let last = collected.messages(&request).pop().unwrap().content;
        assert!(last.contains("Write 1 such captions") && last.contains("holds a banned word"), "{last}");
        collected.add(vec![proposal("Warm light.", &["sun", "sky"])]);
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let expected =
            [("Slow light.".to_owned(), names(["sun", "sea"])), ("Warm light.".to_owned(), names(["sun", "sky"]))];
        assert_eq!(collected.complete(), expected);
    }

    #[test]
    fn the_same_caption_twice_is_one() {
        let rules = rules();
        let mut collected = Collected::new(&rules, 2);
        collected.add(vec![proposal("Slow light.", &["sun", "sea"]), proposal("SLOW light.", &["sun", "sea"])]);
        assert_eq!(collected.lacking(), 1);
    }

    #[test]
    fn a_caption_with_too_few_hashtags_takes_those_of_the_others() {
        let rules = rules();
        let mut collected = Collected::new(&rules, 2);
        collected.add(vec![proposal("Slow light.", &["sun"])]);
        assert_eq!((collected.lacking(), collected.broken.as_slice()), (2, &[Broken::Hashtags][..]));
        collected.add(vec![proposal("Warm light.", &["sun", "sky"])]);
        assert_eq!(collected.lacking(), 0);
        assert_eq!(collected.complete()[0].1, ["sun", "sky"]);
    }

    #[test]
    fn a_failing_provider_is_told_to_the_caller_with_a_wait() {
        let status = |status, retry_after| RemoteError::Failed(CallError::Status { status, retry_after });
        let hour = Some(Duration::from_secs(3_600));
        for (error, told) in [
            (RemoteError::LeftAlone { wait_ms: 1_001 }, CaptionError::NotReady { retry_after_s: 2 }),
            (RemoteError::LeftAlone { wait_ms: 0 }, CaptionError::NotReady { retry_after_s: 1 }),
            (RemoteError::DeadlineExceeded, CaptionError::DeadlineExceeded),
            (RemoteError::BudgetSpent, CaptionError::GenerationFailed),
            (status(429, hour), CaptionError::Overloaded { retry_after_s: 60 }),
            (status(500, None), CaptionError::NotReady { retry_after_s: 2 }),
        ] {
            assert_eq!(not_written(&error), told, "{error}");
        }
    }
}
