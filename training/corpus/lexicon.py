"""Reads what was written by hand: `scenes/KIND.txt`, `said/KIND.txt`, `styles.txt` and `frames/STYLE.txt`."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..layout import CALLS_TO_ACTION, STYLES

HERE = Path(__file__).parent
HELDOUT_SCENES = 12  # one scene entry, and one said description, in this many is never trained on
KIND_CODES = {"v": "view", "f": "food", "p": "product", "a": "animal", "h": "people", "e": "event", "t": "thing", "d": "doing"}
KINDS = tuple(KIND_CODES.values())
SAID_KINDS = (*KINDS, "promo")
DETERMINERS = ("my", "our", "the", "a")
SUBJECTS = re.compile(r"\{[XANG]\}")


@dataclass(frozen=True)
class Entry:
    """A thing that a description can be about."""

    kind: str
    head: str
    determiner: str
    number: str
    timed: bool
    related: tuple
    emoji: str = ""
    heldout: bool = False


@dataclass
class Kind:
    """The entries of one kind of scene and the phrases that suit them."""

    entries: list = field(default_factory=list)
    adjectives: list = field(default_factory=list)
    places: list = field(default_factory=list)
    details: list = field(default_factory=list)
    doing: list = field(default_factory=list)
    tags: list = field(default_factory=list)


@dataclass(frozen=True)
class SaidLine:
    """A whole description, with `{type:word}` where a word may be swapped for another of its form."""

    kind: str
    text: str
    tags: tuple
    emoji: str
    heldout: bool


@dataclass(frozen=True)
class Frame:
    """A hand-written text with slots; `kinds` are those it is true for, `needs` limits the nouns it is grammatical for."""

    text: str
    kinds: frozenset
    needs: str = ""


@dataclass
class StyleFrames:
    """Everything written for one style."""

    captions: list = field(default_factory=list)
    echoes: list = field(default_factory=list)
    offers: list = field(default_factory=list)
    openers: list = field(default_factory=list)
    closers: list = field(default_factory=list)
    musts: list = field(default_factory=list)
    calls: dict = field(default_factory=lambda: {call: [] for call in CALLS_TO_ACTION})

    def texts(self):
        """Every text, slots and all."""
        groups = (self.captions, self.echoes, self.offers, self.openers, self.closers)
        written = [frame.text for group in groups for frame in group]
        return written + self.musts + [text for texts in self.calls.values() for text in texts]


def rows(path):
    """The lines of a lexicon file that are neither blank nor comments."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("# "):
            yield line.strip()


def parse_entry(kind, line, heldout):
    head, flags, related, emoji = [*(part.strip() for part in line.split("|")), ""][:4]
    first, _, rest = head.partition(" ")
    determiner = ""
    if kind == "people" and first in DETERMINERS:
        determiner, head = first, rest
    return Entry(kind, head, determiner, flags[0], "x" not in flags, tuple(related.split()), emoji, heldout)


def read_kind(name):
    kind = Kind()
    for line in rows(HERE / "scenes" / f"{name}.txt"):
        if line.startswith("~"):
            list_name, _, phrases = line[1:].partition(":")
            setattr(kind, list_name.strip(), [phrase.strip() for phrase in phrases.split(";") if phrase.strip()])
        else:
            heldout = len(kind.entries) % HELDOUT_SCENES == HELDOUT_SCENES // 2
            kind.entries.append(parse_entry(name, line, heldout))
    return kind


@lru_cache(maxsize=1)
def kinds():
    """Every kind of scene by name."""
    return {name: read_kind(name) for name in KINDS}


@lru_cache(maxsize=1)
def said():
    """Every hand-written description, by kind."""
    found = {}
    for name in SAID_KINDS:
        lines = []
        for index, line in enumerate(rows(HERE / "said" / f"{name}.txt")):
            text, tags, emoji = (part.strip() for part in line.split(" | "))
            heldout = index % HELDOUT_SCENES == HELDOUT_SCENES // 2
            lines.append(SaidLine(name, text, tuple(tags.split()), emoji, heldout))
        found[name] = lines
    return found


def kinds_of(codes):
    """The kinds that a frame's letters name; no letter means all."""
    named = frozenset(KIND_CODES[letter] for letter in codes if letter in KIND_CODES)
    return named or frozenset(SAID_KINDS)


def add_frame(frames, code, text):
    if code.startswith("CTA "):
        frames.calls[code[4:]].append(text)
    elif code == "MUST":
        frames.musts.append(text)
    elif code == "O":
        frames.offers.append(Frame(text, frozenset(KINDS) - {"doing"}))
    elif code.startswith("OPEN"):
        frames.openers.append(Frame(text, kinds_of(code[4:])))
    elif code.startswith("CLOSE"):
        frames.closers.append(Frame(text, kinds_of(code[5:])))
    elif code.startswith("E"):
        frames.echoes.append(Frame(text, kinds_of(code[1:])))
    else:
        frames.captions.append(Frame(text, kinds_of(code), "".join(mark for mark in code if mark in "1+-")))


@lru_cache(maxsize=1)
def frames():
    """What was written for every style, by name."""
    found = {style: StyleFrames() for style in STYLES}
    for style in STYLES:
        for line in rows(HERE / "frames" / f"{style}.txt"):
            code, _, text = (part.strip() for part in line.partition("|"))
            add_frame(found[style], code, text)
    return found


@lru_cache(maxsize=1)
def style_tags():
    """Hashtags that suit a style, by style."""
    found = {}
    for line in rows(HERE / "styles.txt"):
        style, _, names = line.partition(":")
        found[style] = names.split()
    return found


def caption_words():
    """Every word, lower case, that a caption can have besides those of the request."""
    texts = [text for of_style in frames().values() for text in of_style.texts()]
    bare = re.sub(r"\{[^}]*\}", " ", " ".join(texts)).lower()
    return sorted(set(re.findall(r"[^\W\d_]+", bare)) | {"a", "an", "the", "i"})


def names_in_frames():
    """Words, lower case, that frames only ever write with a capital inside a sentence: of most posts, such a name would be invented."""
    texts = [re.sub(r"\{[^}]*\}", "x", text) for of_style in frames().values() for text in of_style.texts()]
    named = [word for text in texts for word in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text)]
    ordinary = set(re.findall(r"\b[a-z]+\b", " ".join(texts)))
    return sorted({word.lower() for word in named} - ordinary)


def known_hashtags():
    """Every hashtag that the lexicon knows."""
    names = [name for kind in kinds().values() for entry in kind.entries for name in entry.related]
    names += [tag.replace(" ", "") for kind in kinds().values() for tag in kind.tags]
    names += [tag for lines in said().values() for line in lines for tag in line.tags]
    return sorted({name.lower() for name in names} | {name for names in style_tags().values() for name in names})


def related_hashtags():
    """For every kind of scene the hashtags that go with all of it, and those that go with each noun, lower case."""
    found = {}
    for name, kind in kinds().items():
        nouns = {}
        for entry in kind.entries:
            known = nouns.setdefault(entry.head.lower(), [])
            known += [tag.lower() for tag in entry.related if tag.lower() not in known]
        found[name] = {"hashtags": [tag.replace(" ", "") for tag in kind.tags], "nouns": dict(sorted(nouns.items()))}
    return found
