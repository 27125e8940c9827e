"""Fills a hand-written frame with the spans of a description."""

import re

from .describe import capitalised, definite, indefinite, join
from .lexicon import frames

EMOJI_STYLES = ("casual", "playful", "romantic")
EMOJI_SHARE = 0.16
CLOSER_SHARE = 0.22
EMOJI = {
    "view": "✨🌿💫", "food": "😋🍴☕", "product": "✨🛍🎁", "animal": "🐾💛😍", "people": "💛🙌😊",
    "event": "🎉🙌✨", "thing": "💛✨🌱", "doing": "🙌💪😄",
}
EMOJI_ROMANTIC = "❤💛✨💌"


def grammatical(frame, scene):
    """Whether the frame's bare noun takes a noun of this number."""
    allowed = {"1": "s", "+": "mp", "-": "smp"}
    return scene.kind in frame.kinds and all(scene.number in allowed[mark] for mark in frame.needs)


def subject_forms(scene, rng):
    """The spans for {X}, {A} and {N}; a number or an invented word is never left out."""
    must_keep = any(character.isdigit() for character in scene.adjective)
    keep = bool(scene.adjective) and (must_keep or rng.random() < 0.7)
    phrase = join(scene.adjective, scene.head) if keep else scene.head
    named = [word for word in scene.invented if scene.kind == "animal" and scene.head.endswith(f" {word}")]
    if named and rng.random() < 0.4:
        return {"X": named[0], "A": named[0], "N": named[0]}
    return {"X": definite(scene, phrase), "A": indefinite(scene, phrase), "N": scene.head}


def rest_form(scene, rng):
    """The span for {R}: what is said about the subject, with now and then a part left out."""
    parts = []
    for name in ("doing", "place", "detail"):
        span = getattr(scene, name)
        if span and (name in scene.must or rng.random() < 0.88):
            parts.append(span)
    return join(*parts)


def fill(text, scene, rng):
    """The frame with its slots filled, not yet capitalised."""
    rest = rest_form(scene, rng)
    time = scene.time
    if time and "{T}" not in text and rng.random() < 0.5:
        rest, time = join(rest, time), ""
    spans = subject_forms(scene, rng)
    spans.update(G=scene.head, R=f" {rest}" if rest else "", T=f" {time}" if time else "")
    spans["O!"] = scene.offer
    text = re.sub(r"\[([^\[\]|]*)\|([^\[\]|]*)\]", lambda match: match.group(scene.form(2, 1)), text)
    return re.sub(r"\{([A-Z]!?)\}", lambda match: spans[match.group(1)], text)


def choose(style, scene, rng):
    """A frame that fits the scene and has a place for everything that must be copied."""
    of_style = frames()[style]
    if scene.offer and rng.random() < (0.6 if style == "promotional" else 0.4):
        return rng.choice(of_style.offers).text, True
    fitting = [frame for frame in of_style.captions if grammatical(frame, scene)]
    if scene.must:
        fitting = [frame for frame in fitting if "{R}" in frame.text]
    return rng.choice(fitting).text, False


def with_emoji(text, style, scene, rng):
    if style not in EMOJI_STYLES or rng.random() > EMOJI_SHARE or not text.isascii():
        return text
    emoji = rng.choice(EMOJI_ROMANTIC if style == "romantic" else EMOJI[scene.kind])
    return f"{text.rstrip('.')} {emoji}"


def lowered_spans(scene):
    """Spans whose capitals the model cannot know from a description in lower case: invented names and codes."""
    spans = list(scene.invented) + [getattr(scene, name) for name in scene.must]
    if scene.is_name and scene.invented:
        spans.append(scene.head)
    return [span for span in [*spans, scene.offer] if span]


def write_caption(style, scene, lower, rng):
    """One caption about the scene. `lower`: the description was typed without capitals, so names stay so."""
    text, told_offer = choose(style, scene, rng)
    text = fill(text, scene, rng)
    if scene.offer and not told_offer:
        text = f"{text} {scene.offer}."
    elif rng.random() < CLOSER_SHARE:
        text = f"{text} {rng.choice(frames()[style].closers)}"
    if lower:
        for span in lowered_spans(scene):
            text = text.replace(span, span.lower())
    return with_emoji(capitalised(text), style, scene, rng)
