"""Examples from a seed: every index is drawn on its own, so a run can resume anywhere."""

import random
from dataclasses import dataclass

from ..layout import CALLS_TO_ACTION, EMOJI_POLICIES, STYLES
from . import caption as writing
from .describe import as_typed, capitalised, describe, with_remarks
from .hashtags import hashtags_of_said, hashtags_of_scene
from .lexicon import SAID_KINDS, frames, kinds
from .said import draw_said, foreign
from .scene import draw_scene
from .words import Pool, pseudo_name, pseudo_word

SPLITS = ("train", "heldout")
SAID_SHARE = 0.5
FOREIGN_SHARE = 0.05  # of those: in no language the model knows
SAID_WEIGHTS = {"promo": 1.4}
SAID_WEIGHTS_PROMOTIONAL = {"promo": 8.0, "product": 3.0}
EMOJI_SHARE, CALL_SHARE, MUST_SHARE = 0.3, 0.25, 0.12
HANDLE_SHARE = 0.2


@dataclass(frozen=True)
class Asked:
    """What a caller asks for besides the style."""

    emoji: str = "none"
    call_to_action: str = "none"
    must_include: tuple = ()


@dataclass(frozen=True)
class Example:
    """One description and an answer to it."""

    style: str
    asked: Asked
    description: str
    caption: str
    hashtags: tuple
    kind: str
    invented: tuple


@dataclass(frozen=True)
class Draft:
    """What a caption is made of, before anything is asked of it."""

    description: str
    kind: str
    body: str
    hashtags: tuple
    emoji: str
    invented: tuple


def must_phrase(rng, pool):
    """Something a caller may insist on: a name, a handle, a thing."""
    roll = rng.random()
    if roll < HANDLE_SHARE:
        return f"@{pseudo_word(rng, pool)}{rng.choice(('', '', '_', '.'))}{rng.choice(('', 'co', 'shop', 'studio'))}"
    if roll < 0.6:
        return pseudo_name(rng, pool)
    kind = kinds()[rng.choice(("food", "product", "event"))]
    entry = rng.choice([entry for entry in kind.entries if entry.heldout == pool.heldout])
    return f"{rng.choice(kind.adjectives)} {entry.head}" if rng.random() < 0.5 else entry.head


def draw_asked(rng, pool):
    """What is asked for; mostly little."""
    emoji = rng.choice(EMOJI_POLICIES) if rng.random() < EMOJI_SHARE else "none"
    call = rng.choice(CALLS_TO_ACTION) if rng.random() < CALL_SHARE else "none"
    count = rng.choice((1, 1, 1, 2)) if rng.random() < MUST_SHARE else 0
    return Asked(emoji, call, tuple(must_phrase(rng, pool) for _ in range(count)))


def drafted(typed, kind, body, hashtags, suiting):
    """The draft, misspelt where the description is."""
    emoji, invented = suiting
    hashtags = tuple(" ".join(typed.slip[1] if word == typed.slip[0] else word for word in words.split()) for words in hashtags)
    invented = tuple(typed.slipped(word) for word in invented)
    return Draft(typed.text, kind, typed.slipped(body), hashtags, emoji + writing.KIND_EMOJI[kind][:2], invented)


def draft_of_scene(style, rng, pool):
    scene = draw_scene(rng, style, pool)
    typed = describe(scene, rng)
    scene = scene.lowered() if typed.lower else scene
    if scene.kind != "people" and scene.determiner not in typed.text.lower().split():
        scene.determiner = ""  # a caption says "my" only when the description does
    if typed.echo and rng.random() < writing.ECHO_SHARE:
        body = writing.echo_body(style, scene.kind, typed.echo, rng)
    else:
        body = writing.scene_body(style, scene, rng)
    hashtags = hashtags_of_scene(style, scene, rng)
    return drafted(typed, scene.kind, body, hashtags, (scene.emoji, scene.invented))


def draft_of_said(style, rng, pool):
    weights = {kind: 1.0 for kind in SAID_KINDS} | SAID_WEIGHTS
    weights |= SAID_WEIGHTS_PROMOTIONAL if style == "promotional" else {}
    kind = rng.choices(list(weights), list(weights.values()))[0]
    said = foreign(rng, kind, pool) if rng.random() < FOREIGN_SHARE else draw_said(rng, kind, pool)
    typed = with_remarks(as_typed(said.text, said.text, rng), rng)
    said = said.lowered() if typed.lower else said
    body = writing.echo_body(style, kind, typed.echo, rng)
    hashtags = hashtags_of_said(style, said, rng)
    return drafted(typed, kind, body, hashtags, (said.emoji, said.invented))


def write_caption(style, draft, asked, rng):
    """The draft's sentences and what was asked for, in order."""
    sentences = writing.around(style, draft.kind, capitalised(draft.body), rng)
    present = draft.body.lower()
    missing = [phrase for phrase in asked.must_include if phrase.lower() not in present]
    if missing:
        sentences.append(writing.must_sentence(style, missing, rng))
    if asked.call_to_action != "none":
        sentences.append(rng.choice(frames()[style].calls[asked.call_to_action]))
    return writing.with_emoji(sentences, asked.emoji, style, draft.emoji, rng)


def example(seed, index, split="train"):
    """The example at `index`. Held-out ones use only scenes, descriptions and invented words never trained on."""
    if split not in SPLITS:
        raise ValueError(f"split is one of {SPLITS}, not {split!r}")
    rng = random.Random(f"{seed}/{split}/{index}")
    pool = Pool(split == "heldout")
    style = STYLES[rng.randrange(len(STYLES))]
    asked = draw_asked(rng, pool)
    draft = (draft_of_said if rng.random() < SAID_SHARE else draft_of_scene)(style, rng, pool)
    caption = write_caption(style, draft, asked, rng)
    return Example(style, asked, draft.description, caption, draft.hashtags, draft.kind, draft.invented)


def examples(seed, start, count, split="train"):
    """`count` examples from `start` on."""
    for index in range(start, start + count):
        yield example(seed, index, split)
