"""Requests for captions, one JSON object a line, drawn from a seed. Arguments: split of the corpus, seed, first, count.

Nothing of the corpus but its descriptions is used; the answers are the model's.
"""

import json
import random
import sys

from training.corpus import example

VARIANTS, VARIANTS_WEIGHTS = (1, 2, 3), (85, 10, 5)
HASHTAGS, HASHTAGS_WEIGHTS = (5, 0, 3, 8, 15, 30), (60, 5, 15, 10, 6, 4)


def request(split, seed, index):
    """The request at `index`; every one is drawn on its own."""
    drawn = example(seed, index, split)
    rng = random.Random(f"{seed}/{split}/request/{index}")
    asked = {
        "content_description": drawn.description,
        "style": drawn.style,
        "hashtag_count": rng.choices(HASHTAGS, HASHTAGS_WEIGHTS)[0],
        "variants": rng.choices(VARIANTS, VARIANTS_WEIGHTS)[0],
        "optimization_level": "ultra_fast",
    }
    if drawn.asked.emoji != "none":
        asked["emoji"] = drawn.asked.emoji
    if drawn.asked.call_to_action != "none":
        asked["call_to_action"] = drawn.asked.call_to_action
    if drawn.asked.must_include:
        asked["must_include"] = list(drawn.asked.must_include)
    return asked


def main():
    split, seed, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for index in range(first, first + count):
        print(json.dumps(request(split, seed, index), ensure_ascii=False))


main()
