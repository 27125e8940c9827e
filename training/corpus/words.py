"""Pronounceable words that exist in no language: they teach the model to copy what it has never seen."""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ONSETS = (
    "b c d f g h j k l m n p r s t v w y z br bl cr cl dr fl fr gl gr kr kl pl pr qu sc sk sl sm sn sp st sw tr tw "
    "ch sh th wh str spr"
).split()
VOWELS = ("a e i o u " * 5 + "a e o y ai au ea ee ei ia ie oa oo ou ue").split()
CODAS = "b ck d g k l ll m n nd ng nk nt p r rd rk rl rm rn rt s sh ss st t th v x z".split()
# Pieces that must not come up by chance.
UNWANTED = re.compile(
    "|".join(
        (
            "f[uai]c?k fuk sh[iy]t c[uo]nt dick c[ou]ck naz slut who?r rap fag n[ie]g pis tit wank twat cum ars "
            "porn sex puss jew tard coon spic gay homo poo pee vagi anus anal bitch kill hitl klan suic die$ dead "
            "kok boob breas nude rect turd crap crip whit blac"
        ).split()
    )
)
HELDOUT_SHARE = 20  # one word in this many is never trained on
PLAIN_WORDS_SHARE = 0.55  # of the invented words
BLEND_SHARE = 0.4  # of those: the start of one plain word and the end of another
ACCENTS = str.maketrans("aeiou", "áéíóü")


@dataclass(frozen=True)
class Pool:
    """Which words may be drawn: trained or held-out ones."""

    heldout: bool = False


def bucket(text, count):
    """A stable bucket of `text` (Python's own hash changes with the process)."""
    return zlib.crc32(text.lower().encode("utf-8")) % count


def syllable(rng, last):
    """One syllable; a closed one more often at the end of a word."""
    onset = rng.choice(ONSETS) if rng.random() < 0.9 else ""
    coda = rng.choice(CODAS) if rng.random() < (0.45 if last else 0.2) else ""
    return onset + rng.choice(VOWELS) + coda


@lru_cache(maxsize=1)
def plain_words():
    """The words of `plain_words.txt`, in lower case."""
    lines = (Path(__file__).parent / "plain_words.txt").read_text(encoding="utf-8").splitlines()
    return [word.lower() for line in lines if not line.startswith("#") for word in line.split()]


def plain_word(rng):
    """A plain English word, or a blend of two."""
    word = rng.choice(plain_words())
    if rng.random() > BLEND_SHARE:
        return word
    other = rng.choice(plain_words())
    return word[: rng.randint(2, 6)] + other[-rng.randint(2, 6) :]


def invented_word(rng):
    """A word of one to four syllables."""
    count = rng.choices((1, 2, 3, 4), (1, 6, 5, 1))[0]
    return "".join(syllable(rng, index == count - 1) for index in range(count))


def pseudo_word(rng, pool):
    """A lower-case word of 4 to 12 letters from the pool."""
    while True:
        word = plain_word(rng) if rng.random() < PLAIN_WORDS_SHARE else invented_word(rng)
        if 4 <= len(word) <= 12 and not UNWANTED.search(word) and (bucket(word, HELDOUT_SHARE) == 0) == pool.heldout:
            return word


def pseudo_name(rng, pool):
    """A proper name: mostly Capitalised, sometimes as brands spell themselves."""
    word = pseudo_word(rng, pool)
    form = rng.random()
    if form < 0.86:
        return word.capitalize()
    if form < 0.90 and len(word) <= 7:
        return word.upper()
    if form < 0.94:
        return word.capitalize().translate(ACCENTS)
    second = pseudo_word(rng, pool).capitalize()
    if form < 0.97 and len(word) + len(second) <= 13:
        return word.capitalize() + second
    return f"{word.capitalize()} {second}"


def plural(word):
    """The regular English plural."""
    if word.endswith(("s", "x", "z", "sh", "ch")):
        return word + "es"
    return word + "s"


def gerund(word):
    """An -ing form of an invented verb."""
    if word.endswith("e") and not word.endswith(("ee", "ie")):
        word = word[:-1]
    return word + "ing"
