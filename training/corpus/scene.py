"""Draws what a description will say: subject, place, detail, activity, time, offer."""

from dataclasses import dataclass, field, replace

from .facts import clock_time, date, draw_offer, number, year
from .lexicon import Entry, kinds
from .words import gerund, plural, pseudo_name, pseudo_word

INVENTED_SHARE = 0.68
KIND_WEIGHTS = {"view": 16, "food": 15, "product": 16, "animal": 11, "people": 10, "event": 13, "thing": 9, "doing": 10}
OFFER_SHARE = {"promotional": 0.55}
OFFER_SHARE_ELSEWHERE = 0.10
OFFER_KINDS = ("product", "food", "event", "thing")
TIMES = (
    "this morning;at dusk;on a rainy Tuesday;last night;before breakfast;after work;at noon;in late October;"
    "on the first day of spring;on Saturday;this weekend;yesterday;on a Sunday afternoon;in the evening;at midnight;"
    "this summer;in winter;on my birthday;after a long week;just before dinner;on holiday;today;in the early hours;"
    "at lunchtime;on Christmas Eve;in spring;during a thunderstorm;on Friday night"
).split(";")
PEOPLE_NOUNS = "friend colleague cousin neighbour aunt uncle teacher partner dog-walker mentor niece nephew".split()
VIEW_NAMES = ("{}", "{}", "Lake {}", "Mount {}", "Port {}", "{} Bay", "{} Valley", "{} Island")
PLACE_NAMES = (
    "in {}", "in {}", "in {}", "near {}", "at {}", "at {}", "at Café {}", "by Lake {}", "on Mount {}", "at the {} market",
    "in {} Park", "on {} Street", "at Hotel {}", "along the {} river", "at the {} studio", "outside {}", "over {} Bay",
)
# Colours, sizes, materials, tastes: not true of every noun, but a caption repeats what its description says.
PLAIN_ADJECTIVES = (
    "golden;quiet;misty;pink;blue;green;red;white;black;purple;silver;spicy;sweet;salty;crunchy;frozen;warm;tiny;huge;old;new;rusty;vintage;wooden;striped;"
    "round;long;soft;noisy;sleepy;grumpy;hungry;muddy;wet;dusty;empty;crowded;messy;clean;bright;dark;windy;rainy;sunny;snowy;second-hand;broken;hand-painted;"
    "half-finished;oversized;floral;plain;fluffy;stubborn;clumsy;brave;shy;lazy;lonely;strange;secret;giant;little;favourite;early;late;local;simple;rough;sharp"
).split(";")
PLAIN_ADJECTIVE_SHARE = 0.35
PLACE_NOUNS = ("on the {}", "by the {}", "under the {}", "next to the {}", "behind the {}", "in the {}")
MODIFIED = {"food": "soup cake bread salad pie sauce".split(), "event": "festival workshop party class tournament".split()}


@dataclass
class Scene:
    """The spans that a description states and a caption may use; empty strings where there is nothing."""

    kind: str
    head: str
    number: str
    determiner: str = ""
    adjective: str = ""
    doing: str = ""
    place: str = ""
    detail: str = ""
    time: str = ""
    offer: str = ""
    invented: list = field(default_factory=list)
    must: set = field(default_factory=set)
    related: tuple = ()
    emoji: str = ""

    def lowered(self):
        """The same without capitals, as it was typed: the model cannot know which words are names."""
        spans = {name: getattr(self, name).lower() for name in ("head", "adjective", "doing", "place", "detail", "time", "offer")}
        return replace(self, **spans, invented=[word.lower() for word in self.invented])

    @property
    def is_name(self):
        return self.number == "n"

    def form(self, plural_form, other):
        return plural_form if self.number == "p" else other


def article(phrase):
    return "an" if phrase[:1].lower() in "aeiou" else "a"


def invented_subject(rng, pool, entry):
    """The entry with an invented word in it, and that word."""
    word, name = pseudo_word(rng, pool), pseudo_name(rng, pool)
    unrelated = replace(entry, related=())
    kind, roll = entry.kind, rng.random()
    if kind == "people":
        if roll < 0.4:
            return Entry(kind, name, "", "n", True, ()), name
        return Entry(kind, f"{rng.choice(PEOPLE_NOUNS)} {name}", rng.choice(("my", "our")), "s", True, ()), name
    if kind == "doing":
        verb = entry.head.split()[0]
        forms = [(gerund(word), gerund(word)), (f"{verb} {word}", word), (f"visiting {name}", name)]
        head, copied = rng.choice(forms + [(f"playing {word}", word), (f"making {word}", word)])
        return replace(unrelated, head=head), copied
    if kind == "view" and roll < 0.35:
        return Entry(kind, rng.choice(VIEW_NAMES).format(name), "", "n", True, ()), name
    if kind == "animal" and roll < 0.45 and entry.number == "s":
        return replace(entry, head=f"{entry.head} {name}", determiner="my"), name
    if kind in ("product", "food", "event") and roll < 0.4:
        return replace(entry, head=f"{name} {entry.head}"), name
    if kind in MODIFIED and roll < 0.6:
        return replace(unrelated, head=f"{word} {rng.choice(MODIFIED[kind])}", number="s"), word
    if roll < 0.7 and entry.number != "n":
        return replace(entry, head=f"{word} {entry.head}"), word
    number = rng.choice("sspm" if kind == "food" else "ssp")
    copied = plural(word) if number == "p" else word
    return replace(unrelated, head=copied, number=number), copied


def invented_place(rng, pool):
    if rng.random() < 0.7:
        name = pseudo_name(rng, pool)
        return rng.choice(PLACE_NAMES).format(name), name
    word = pseudo_word(rng, pool)
    return rng.choice(PLACE_NOUNS).format(word), word


def invented_detail(rng, pool, kind):
    name, word = pseudo_name(rng, pool), pseudo_word(rng, pool)
    if kind in ("product", "thing"):
        return rng.choice((f"by {name}", f"from {name}", f"with {word} trim", f"made of {word}")), None
    if kind == "food":
        return rng.choice((f"with {word}", f"with fresh {word}", f"and a glass of {word}", f"with {name}")), None
    return rng.choice((f"with {name}", f"with my friend {name}", f"with {article(word)} {word}")), None


def draw_time(rng):
    """When it was: a phrase, or one with a number in it."""
    if rng.random() > 0.35:
        return rng.choice(TIMES)
    return rng.choice(
        (
            f"at {clock_time(rng)}",
            f"on {date(rng)}",
            f"in {year(rng)}",
            f"after {number(rng)} {rng.choice(('years', 'days', 'weeks', 'hours', 'months', 'tries'))}",
        )
    )


def draw_adjective(rng, entry, kind):
    """Mostly a plain adjective, sometimes a number."""
    if entry.number == "n" or entry.kind == "doing" or rng.random() > 0.5:
        return ""
    if entry.number == "p" and not entry.determiner and rng.random() < 0.12:
        return number(rng)
    if entry.kind == "event" and rng.random() < 0.08:
        return rng.choice((f"{rng.randint(2, 9)}-day", f"{rng.choice((4, 5, 6, 7, 8, 9, 10, 12, 20, 25, 50))}th", f"{rng.randint(2, 60)}-person"))
    return rng.choice(PLAIN_ADJECTIVES if rng.random() < PLAIN_ADJECTIVE_SHARE else kind.adjectives)


def draw_determiner(rng, entry):
    if entry.determiner or entry.number == "n" or entry.kind == "doing":
        return entry.determiner
    own = {"animal": 0.55, "product": 0.45, "thing": 0.4, "food": 0.1, "event": 0.25, "view": 0.0}[entry.kind]
    if rng.random() < own:
        return rng.choice(("my", "our"))
    return ""


def draw_scene(rng, style, pool):
    """One scene; about three in five hold an invented word that the caption must copy."""
    name = rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
    kind = kinds()[name]
    entry = rng.choice([entry for entry in kind.entries if entry.heldout == pool.heldout])
    invent = set()
    if rng.random() < INVENTED_SHARE:
        invent = set(rng.choices((("head",), ("place",), ("detail",), ("head", "place")), (10, 6, 2, 3))[0])
    invented = []
    if "head" in invent:
        entry, word = invented_subject(rng, pool, entry)
        invented.append(word)
    active = {"animal": 0.6, "people": 0.55, "product": 0.2}.get(name, 0.15)
    scene = Scene(name, entry.head, entry.number, draw_determiner(rng, entry), related=entry.related, emoji=entry.emoji, invented=invented)
    scene.adjective = draw_adjective(rng, entry, kind)
    scene.doing = rng.choice(kind.doing) if kind.doing and rng.random() < active else ""
    scene.place = rng.choice(kind.places) if rng.random() < 0.62 and not (name == "view" and scene.is_name) else ""
    scene.detail = rng.choice(kind.details) if rng.random() < 0.25 else ""
    if "place" in invent:
        scene.place, word = invented_place(rng, pool)
        invented.append(word)
        scene.must.add("place")
    if "detail" in invent:
        scene.detail, _ = invented_detail(rng, pool, name)
        scene.must.add("detail")
    if entry.timed and rng.random() < 0.3:
        scene.time = draw_time(rng)
    if name in OFFER_KINDS and rng.random() < OFFER_SHARE.get(style, OFFER_SHARE_ELSEWHERE):
        scene.offer, code = draw_offer(rng, pool)
        invented += [code] if code else []
    return scene
