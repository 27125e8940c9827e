//! A model that knows nothing, asked for anything: every answer keeps every rule of its request.

use std::collections::HashSet;
use std::time::Duration;

use lede_origin::backend::scripted::Script;
use lede_origin::engine::constraint::emoji_count;
use lede_shared::api::arbitrary::caption_request;
use lede_shared::api::text::{contains_emoji, contains_word};
use lede_shared::api::{CallToAction, CaptionRequest, EmojiLevel, ValidRequest};
use lede_shared::policy::utf16_len;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{END, TAG, TestApp};

/// Requests, unless `LEDE_RANDOM_REQUESTS` says otherwise.
const REQUESTS: usize = 300;
/// Requests that are on their way at once.
const AT_ONCE: usize = 8;

/// Any entry may be the likeliest; now and then one wants to end what it writes.
fn anything() -> Script {
    let mut state = 88_172_645_463_325_252u64;
    Box::new(move |_: &[u32], logits: &mut [f32]| {
        for logit in logits.iter_mut() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *logit = (state >> 40) as f32 / (1u64 << 21) as f32;
        }
        if state.is_multiple_of(6) {
            logits[TAG as usize] = 30.0;
            logits[END as usize] = 30.0;
        }
    })
}

/// A request over the whole vocabulary, with so few variants that thousands can be asked for.
fn random_request(runner: &mut TestRunner, index: usize) -> Value {
    let mut body = caption_request().new_tree(runner).unwrap().current();
    let fields = body.as_object_mut().unwrap();
    fields.insert("variants".to_owned(), json!(1 + index % 40 / 39));
    fields.insert("seed".to_owned(), json!(index));
    if !index.is_multiple_of(20) {
        fields.insert("optimization_level".to_owned(), json!("ultra_fast"));
    }
    body
}

fn digit_runs(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_numeric()).filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

fn assert_valid(request: &ValidRequest, answer: &Value) {
    let what = format!("{}\n{answer}", request.to_json());
    let variants = answer["variants"].as_array().unwrap();
    assert_eq!(variants.len(), usize::from(request.variants()), "{what}");
    for variant in variants {
        let text = |name: &str| variant[name].as_str().unwrap().to_owned();
        let (caption, post_text) = (text("caption"), text("post_text"));
        let hashtags: Vec<&str> =
            variant["hashtags"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
        assert!(!caption.trim().is_empty() && !caption.contains('#'), "{what}");
        assert!(!caption.chars().any(|c| c.is_control() && c != '\n'), "{what}");
        assert!(utf16_len(&post_text) <= 2_200 && post_text.matches('#').count() <= 5, "{what}");
        assert!(request.max_length().is_none_or(|max| utf16_len(&caption) <= usize::from(max)), "{what}");
        for word in request.banned_words() {
            assert!(!contains_word(&caption, word), "{word}: {what}");
            assert!(!hashtags.iter().any(|hashtag| contains_word(hashtag, word)), "{word}: {what}");
        }
        for text in request.must_include() {
            assert!(caption.contains(text.as_str()), "{text}: {what}");
        }
        assert_emoji(request, &caption, &what);
        assert_cue(request, &caption, &what);
        let sources = [request.content_description().to_owned(), request.must_include().join(" ")];
        let known: HashSet<String> = sources.iter().flat_map(|text| digit_runs(text)).collect();
        assert!(digit_runs(&caption).is_subset(&known), "digits: {what}");
        assert_eq!(hashtags.len(), usize::from(request.hashtag_count()), "{what}");
        assert_eq!(hashtags.iter().collect::<HashSet<_>>().len(), hashtags.len(), "{what}");
        for hashtag in hashtags {
            let name = hashtag.strip_prefix('#').unwrap();
            let is_valid = |c: char| c.is_alphanumeric() && c.to_lowercase().eq([c]);
            assert!(name.chars().all(is_valid) && name.contains(char::is_alphabetic), "{name}: {what}");
            assert!((2..=30).contains(&name.chars().count()), "{name}: {what}");
        }
    }
}

fn assert_emoji(request: &ValidRequest, caption: &str, what: &str) {
    let theirs: usize = request.must_include().iter().map(|text| emoji_count(text)).sum();
    let count = emoji_count(caption);
    match request.emoji() {
        EmojiLevel::None => assert!(!contains_emoji(caption), "{what}"),
        // With a short limit what must be there may leave no room for them.
        EmojiLevel::Light => {
            assert!(theirs > 0 || count <= 2 && (count >= 1 || request.max_length().is_some()), "{what}")
        }
        EmojiLevel::Rich => {
            assert!(theirs > 0 || count <= 8 && (count >= 3 || request.max_length().is_some()), "{what}")
        }
    }
}

fn assert_cue(request: &ValidRequest, caption: &str, what: &str) {
    let cues: &[&str] = match request.call_to_action() {
        CallToAction::None => return,
        CallToAction::Comment => &["comment", "tell us", "tell me", "let us know", "let me know"],
        CallToAction::Save => &["save"],
        CallToAction::Share => &["share", "tag", "send this"],
        CallToAction::Link => &["link in bio", "link in our bio", "link in my bio"],
        CallToAction::Shop => &["shop", "order", "buy"],
    };
    let is_banned = |cue: &str| request.banned_words().iter().any(|word| contains_word(cue, word));
    let mut possible = cues.iter().filter(|cue| !is_banned(cue)).peekable();
    assert!(possible.peek().is_none() || possible.any(|cue| contains_word(caption, cue)), "cue: {what}");
}

#[tokio::test]
async fn whatever_is_asked_for_every_answer_keeps_the_rules_of_its_request() {
    let asked = std::env::var("LEDE_RANDOM_REQUESTS").ok().and_then(|count| count.parse().ok());
    let requests: usize = asked.unwrap_or(REQUESTS);
    let app = TestApp::with(&[("deadline_ms", json!(600_000))], Duration::ZERO, anything()).await;
    let mut runner = TestRunner::deterministic();
    for first in (0..requests).step_by(AT_ONCE) {
        let bodies: Vec<Value> =
            (first..requests.min(first + AT_ONCE)).map(|index| random_request(&mut runner, index)).collect();
        let answers = futures_util::future::join_all(bodies.iter().map(|body| app.post(body.clone()))).await;
        for (body, answer) in bodies.iter().zip(answers) {
            let said = || String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, 200, "{body}\n{}", said());
            let request = CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().unwrap();
            assert_valid(&request, &answer.json());
        }
    }
}
