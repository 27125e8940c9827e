"""Examples from a seed: every index is drawn on its own, so a run can resume anywhere."""

import random
from dataclasses import dataclass

from ..layout import STYLES
from .caption import write_caption
from .describe import describe
from .hashtags import draw_hashtags
from .scene import draw_scene
from .words import Pool

SPLITS = ("train", "heldout")


@dataclass(frozen=True)
class Example:
    """One description and an answer to it."""

    style: str
    description: str
    caption: str
    hashtags: tuple
    head: str
    invented: tuple


def example(seed, index, split="train", plain=False):
    """The example at `index`. Held-out ones use only scene entries and invented words never trained on.

    With `plain`, about half of the invented words are plain English ones, or blends of them.
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {SPLITS}, not {split!r}")
    rng = random.Random(f"{seed}/{split}/{index}")
    style = STYLES[rng.randrange(len(STYLES))]
    scene = draw_scene(rng, style, Pool(split == "heldout", plain))
    description, lower = describe(scene, rng)
    if scene.kind != "people" and scene.determiner not in description.lower().split():
        scene.determiner = ""  # a caption says "my" only when the description does
    caption = write_caption(style, scene, lower, rng)
    hashtags = tuple(draw_hashtags(style, scene, rng))
    return Example(style, description, caption, hashtags, scene.head, tuple(scene.invented))


def examples(seed, start, count, split="train", plain=False):
    """`count` examples from `start` on."""
    for index in range(start, start + count):
        yield example(seed, index, split, plain)
