"""Hashtags, as words: those of the description, alone and joined, then related ones."""

import re

from .describe import place_noun
from .lexicon import kinds, style_tags

CHARACTERS_MAX = 26
COUNT_WEIGHTS = {0: 1, 1: 2, 2: 3, 3: 10, 4: 12, 5: 30, 6: 10, 7: 8, 8: 8, 9: 3, 10: 4, 12: 2, 15: 1, 20: 1}
# Words that make no hashtag.
SMALL_WORDS = frozenset(
    """a an and at by for from in of on our my the to with her his their your is are it its was were we i me us you he she they them this that these those
    just so who what when how all no not as be been being has have had having do does did doing up out off over after before under into than then there here again
    still im dont very too one two three four five six seven eight nine ten every some any but or if about only am pm each asked came comes come went goes going go
    gone got get gets getting made make makes making took take takes taking said says say told tell tells everyone everybody nobody someone something nothing because
    really already always never finally also another around away back between both can could cannot will would should may might must done else enough even ever few
    find finds found give gave given gives half hard however keep keeps kept know knows knew least left less let lets like likes look looks looking looked lot lots
    many maybe more most much near need needs new next now number often once own please put puts quite rather ready right same saw see sees seen several since
    sometimes soon sorry spent start started starts stay stayed such sure thanks thank thing things think though through toward tried try trying turned turns until
    upon used use uses using waited waits want wants wanted way ways well whole whose which why without yes yet hello okay re ve ll don didn won isn wasn couldn
    doesn turns bit kind sort almost during while where whether per via vs etc instead against across along behind beside below above inside outside""".split()
)


def content_words(text):
    """Words of letters that say something."""
    words = re.findall(r"[^\W\d_]+", text)
    return [word for word in words if len(word) > 1 and word.lower() not in SMALL_WORDS]


def own_words(scene, rng):
    """Names made from a scene's description alone, the subject first."""
    head = content_words(scene.head)
    subject = [" ".join(head), *(head if len(head) > 1 else [])] if head else []
    others = []
    adjective = content_words(scene.adjective)
    if adjective and head:
        others.append(f"{adjective[-1]} {head[-1]}")
    place = content_words(place_noun(scene))
    if place:
        others += [" ".join(place[:3])] + ([f"{place[-1]} {head[-1]}"] if head and rng.random() < 0.4 else [])
    detail = content_words(scene.detail)
    if detail:
        others.append(detail[-1])
    if scene.doing and scene.doing.split()[0].endswith("ing"):
        others.append(scene.doing.split()[0])
    others += scene.invented
    rng.shuffle(others)
    return subject[:1] + (subject[1:] if rng.random() < 0.6 else []) + others


def words_said(said, rng):
    """Names made from a hand-written description: words to copy first, then others, alone and in pairs."""
    words = content_words(said.text)
    lower = said.text.lower()
    pairs = [f"{first} {second}" for first, second in zip(words, words[1:]) if f"{first} {second}".lower() in lower]
    rng.shuffle(pairs)
    long_words = sorted(set(words), key=lambda word: (-len(word), word))[:6]
    rng.shuffle(long_words)
    return [*said.invented, *long_words[:2], *pairs[:1], *long_words[2:4], *pairs[1:2], *long_words[4:]]


def usable(words, names):
    """A hashtag of 3 to 26 characters that is not there yet."""
    name = words.replace(" ", "").lower()
    return 3 <= len(name) <= CHARACTERS_MAX and name.isalnum() and not name.isdigit() and name not in names


def draw_count(rng):
    return rng.choices(list(COUNT_WEIGHTS), list(COUNT_WEIGHTS.values()))[0]


def chosen(order, count):
    """The first `count` usable ones, in order."""
    found, names = [], set()
    for words in order:
        if len(found) < count and usable(words, names):
            names.add(words.replace(" ", "").lower())
            found.append(words)
    return found


def hashtags_of_scene(style, scene, rng):
    """Up to 20, the closest to the description first."""
    related = rng.sample(scene.related, len(scene.related))
    kind = [tag.replace(" ", "") for tag in kinds()[scene.kind].tags]
    of_style = list(style_tags()[style])
    rng.shuffle(kind)
    rng.shuffle(of_style)
    own = own_words(scene, rng)
    order = own[:2] + related[:1] + own[2:4] + related[1:2] + own[4:] + related[2:] + kind[:2] + of_style[:1] + kind[2:] + of_style[1:]
    return chosen(order, draw_count(rng))


def hashtags_of_said(style, said, rng):
    """The same for a hand-written description: its writer's hashtags among its own words."""
    tags, own, of_style = list(said.tags), words_said(said, rng), list(style_tags()[style])
    rng.shuffle(of_style)
    order = own[:1] + tags[:2] + own[1:3] + tags[2:3] + own[3:4] + tags[3:] + own[4:] + of_style
    return chosen(order, draw_count(rng))
