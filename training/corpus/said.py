"""Descriptions written by hand, with words swapped for others so that copying is learned and not the line."""

import re
from dataclasses import dataclass, replace

from .facts import clock_time, code, date, percentage, price, year
from .lexicon import kinds, said
from .words import plural, pseudo_name, pseudo_word

SLOT = re.compile(r"\{(.):([^{}]*)\}")
SWAPPED_SHARE = 0.8
LEXICON_SHARE = 0.3  # of the common nouns that are swapped: by one of the lexicon
WORDS_KEPT_SHARE = 0.35  # of the descriptions: whose common nouns stay as they were written


@dataclass(frozen=True)
class Said:
    """A description as its writer would type it with care, and what goes with it."""

    kind: str
    text: str
    tags: tuple
    emoji: str
    invented: tuple


    def lowered(self):
        """The same without capitals, as it was typed."""
        return replace(self, text=self.text.lower(), invented=tuple(word.lower() for word in self.invented))


def noun(rng, pool, number):
    """A common noun of this number: of the lexicon, or invented."""
    if rng.random() < LEXICON_SHARE:
        kind = kinds()[rng.choice(("food", "product", "thing"))]
        fitting = [entry.head for entry in kind.entries if entry.number in number and entry.heldout == pool.heldout]
        return rng.choice(fitting), None
    word = pseudo_word(rng, pool)
    if number == "s":
        return word, word
    several = plural(word) if rng.random() < 0.6 else word
    return several, several


def name(rng, pool, kind):
    """A proper name: of a person, a place or a business."""
    word = pseudo_name(rng, pool)
    if kind == "P" and rng.random() < 0.15:
        return rng.choice(("Lake {}", "Mount {}", "Port {}", "{} Bay", "New {}", "{} Beach")).format(word), word
    if kind == "B" and rng.random() < 0.4:
        return f"{word} {rng.choice(('Labs', 'Coffee', 'Studio', 'Bakery', 'Works', 'Market', 'Books', 'Yoga', 'Foods', 'Club'))}", word
    return word, word


def swapped(rng, pool, kind, present, keep_words):
    """What stands for `{kind:present}`; second, the word of it that training should copy."""
    facts = {"$": price, "%": percentage, "D": date, "C": clock_time, "Y": year}
    if kind in facts:
        return facts[kind](rng), None
    if kind == "#":
        return str(rng.choice((rng.randint(2, 12), rng.randint(2, 60), rng.randint(10, 500), rng.randint(100, 9999)))), None
    if kind == "K":
        return code(rng, pool)
    if kind in "NPB":
        return name(rng, pool, kind) if rng.random() < SWAPPED_SHARE else (present, None)
    if keep_words or rng.random() > SWAPPED_SHARE:
        return present, None
    return noun(rng, pool, "s" if kind == "n" else "pm")


def foreign(rng, kind, pool):
    """A description in which every word must be copied: so are those in languages that the model does not know."""
    words = [pseudo_word(rng, pool) for _ in range(rng.randint(2, 7))]
    small = rng.choice(("de la", "im", "på", "con", "di", "et", "na", "en", "der", "à la"))
    words.insert(rng.randint(1, len(words) - 1), small)
    return Said(kind, " ".join(words), (), "", tuple(word for word in words if word != small))


def draw_said(rng, kind, pool):
    """One description of the kind."""
    line = rng.choice([line for line in said()[kind] if line.heldout == pool.heldout])
    invented, keep_words = [], rng.random() < WORDS_KEPT_SHARE

    def fill(match):
        text, copied = swapped(rng, pool, match[1], match[2], keep_words)
        if copied:
            invented.append(copied)
        return text

    return Said(kind, SLOT.sub(fill, line.text), line.tags, line.emoji, tuple(invented))
