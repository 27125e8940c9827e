"""Hashtags: words of the description, alone and joined, then related words and words of the style."""

import unicodedata

from .describe import place_noun
from .lexicon import kinds, style_tags

CHARACTERS_MAX = 26
COUNT_WEIGHTS = {0: 2, 1: 2, 2: 4, 3: 12, 4: 15, 5: 22, 6: 13, 7: 10, 8: 10, 9: 3, 10: 3, 11: 2, 12: 2, 16: 1, 20: 1}
SMALL_WORDS = frozenset("a an and at by for from in of on our my the to with her his their your is are it".split())


def slug(text):
    """Lower-case ASCII letters and digits; accents folded away."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return "".join(character for character in folded.lower() if character.isalnum())


def content_words(text):
    return [word for word in text.replace("-", " ").split() if slug(word) and slug(word) not in SMALL_WORDS]


def copied(scene, rng):
    """Names made from the description alone, the subject first."""
    head = content_words(scene.head)
    subject = [" ".join(head), *(head if len(head) > 1 else [])]
    others = []
    if scene.adjective and not any(character.isdigit() for character in scene.adjective):
        others.append(f"{scene.adjective} {head[-1]}")
    place = content_words(place_noun(scene))
    if place:
        others += [" ".join(place)] + ([f"{place[-1]} {head[-1]}"] if rng.random() < 0.4 else [])
    detail = content_words(scene.detail)
    if detail:
        others.append(detail[-1])
    if scene.doing and scene.doing.split()[0].endswith("ing"):
        others.append(scene.doing.split()[0])
    others += scene.invented
    rng.shuffle(others)
    return subject[:1] + (subject[1:] if rng.random() < 0.6 else []) + others


def draw_hashtags(style, scene, rng):
    """0 to 20 unique valid names, mostly 3 to 8, the closest to the description first."""
    count = rng.choices(list(COUNT_WEIGHTS), list(COUNT_WEIGHTS.values()))[0]
    related = rng.sample(scene.related, len(scene.related))
    kind = list(kinds()[scene.kind].tags)
    of_style = list(style_tags()[style])
    rng.shuffle(kind)
    rng.shuffle(of_style)
    own = copied(scene, rng)
    order = own[:2] + related[:1] + own[2:4] + of_style[:1] + related[1:2] + kind[:1] + own[4:] + related[2:] + of_style[1:3] + kind[1:]
    names = []
    for text in order + of_style[3:]:
        name = slug(text)
        if 3 <= len(name) <= CHARACTERS_MAX and not name.isdigit() and name not in names:
            names.append(name)
    return names[:count]
