"""Reads `scenes.txt`, `styles.txt` and `frames/*.txt`."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..layout import STYLES

HERE = Path(__file__).parent
HELDOUT_SCENES = 12  # one scene entry in this many is never trained on
KIND_CODES = {"v": "view", "f": "food", "p": "product", "a": "animal", "h": "people", "e": "event", "t": "thing", "d": "doing"}
DETERMINERS = ("my", "our", "the", "a")


@dataclass(frozen=True)
class Entry:
    """A thing that a description can be about."""

    kind: str
    head: str
    determiner: str
    number: str
    timed: bool
    related: tuple
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
class Frame:
    """A hand-written caption with slots; `needs` limits the nouns it is grammatical for."""

    text: str
    kinds: frozenset
    needs: str


@dataclass(frozen=True)
class StyleFrames:
    """All frames of one style: captions, captions with an offer, and closing sentences."""

    captions: tuple
    offers: tuple
    closers: tuple


def rows(path):
    """The lines of a lexicon file that are neither blank nor comments."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def parse_entry(kind, line, heldout):
    head, flags, related = (part.strip() for part in line.split("|"))
    first, _, rest = head.partition(" ")
    determiner = ""
    if kind == "people" and first in DETERMINERS:
        determiner, head = first, rest
    return Entry(kind, head, determiner, flags[0], "x" not in flags, tuple(related.split()), heldout)


@lru_cache(maxsize=1)
def kinds():
    """Every kind of scene by name."""
    found, kind = {}, None
    for line in rows(HERE / "scenes.txt"):
        if line.startswith("["):
            kind = line.strip("[]")
            found[kind] = Kind()
        elif line.startswith("~"):
            name, _, phrases = line[1:].partition(":")
            setattr(found[kind], name, [phrase.strip() for phrase in phrases.split(";")])
        else:
            heldout = len(found[kind].entries) % HELDOUT_SCENES == HELDOUT_SCENES // 2
            found[kind].entries.append(parse_entry(kind, line, heldout))
    return found


def parse_frame(code, text):
    names = frozenset(KIND_CODES[letter] for letter in code if letter in KIND_CODES)
    return Frame(text, names, "".join(mark for mark in code if mark in "1+-"))


@lru_cache(maxsize=1)
def frames():
    """The frames of every style by name."""
    found = {}
    for style in STYLES:
        captions, offers, closers = [], [], []
        for line in rows(HERE / "frames" / f"{style}.txt"):
            code, _, text = (part.strip() for part in line.partition("|"))
            if code == "O":
                offers.append(Frame(text, frozenset(KIND_CODES.values()) - {"doing"}, ""))
            elif code == "CLOSE":
                closers.append(text)
            else:
                captions.append(parse_frame(code, text))
        found[style] = StyleFrames(tuple(captions), tuple(offers), tuple(closers))
    return found


@lru_cache(maxsize=1)
def style_tags():
    """Hashtags that suit a style, by style."""
    found = {}
    for line in rows(HERE / "styles.txt"):
        style, _, names = line.partition(":")
        found[style] = names.split()
    return found
