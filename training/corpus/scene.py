"""Draws what a description will say: subject, place, detail, activity, time, offer."""

from dataclasses import dataclass, field, replace

from .lexicon import Entry, kinds
from .words import gerund, plural, pseudo_name, pseudo_word

INVENTED_SHARE = 0.62
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


def number_text(rng):
    """Numbers as people write them in descriptions."""
    return str(rng.choice((rng.randint(2, 12), rng.randint(2, 60), rng.randint(10, 500))))


def draw_time(rng):
    if rng.random() > 0.2:
        return rng.choice(TIMES)
    hour, half = rng.randint(1, 12), rng.choice(("am", "pm"))
    return rng.choice(
        (
            f"at {hour} {half}",
            f"at {hour}:{rng.choice(('00', '15', '30', '45'))} {half}",
            f"on {rng.randint(1, 28)} {rng.choice(('March', 'June', 'July', 'September', 'December'))}",
            f"in {rng.randint(1998, 2031)}",
            f"after {rng.randint(2, 40)} {rng.choice(('years', 'days', 'weeks', 'hours'))}",
        )
    )


def draw_price(rng):
    amount = rng.choice((str(rng.randint(2, 250)), f"{rng.randint(1, 99)}.{rng.choice(('50', '99', '90', '25'))}"))
    return rng.choice(("${}", "${}", "€{}", "£{}", "{} dollars")).format(amount)


def draw_offer(rng, pool):
    """A fact to be copied exactly; second, an invented code if it holds one."""
    percent, price = f"{rng.choice((5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, rng.randint(3, 90)))}%", draw_price(rng)
    code = pseudo_word(rng, pool).upper()[:6] + number_text(rng)
    until = rng.choice(("this weekend", "until Friday", "today only", "this week", "until Sunday", f"until {rng.randint(2, 28)} May"))
    form = rng.choice(
        (
            "{percent} off", "{percent} off {until}", "{percent} off {until}", "now {price}", "only {price}", "{price} each",
            "from {price}", "{price} {until}", "free delivery {until}", "two for one {until}", "half price {until}",
            "free shipping over {price}", "save {percent} with code {code}", "buy {small}, get 1 free", "tickets from {price}",
            "just {price} {until}", "{percent} discount for members", "only {small} left",
        )
    )
    text = form.format(percent=percent, price=price, until=until, code=code, small=rng.randint(2, 9))
    return text, code if "{code}" in form else None


def draw_adjective(rng, entry, kind):
    """Mostly a plain adjective, sometimes a number."""
    if entry.number == "n" or entry.kind == "doing" or rng.random() > 0.5:
        return ""
    if entry.number == "p" and not entry.determiner and rng.random() < 0.12:
        return number_text(rng)
    if entry.kind == "event" and rng.random() < 0.08:
        return rng.choice((f"{rng.randint(2, 9)}-day", f"{rng.choice((4, 5, 6, 7, 8, 9, 10, 12, 20, 25, 50))}th", f"{rng.randint(2, 60)}-person"))
    return rng.choice(kind.adjectives)


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
    scene = Scene(name, entry.head, entry.number, draw_determiner(rng, entry), related=entry.related, invented=invented)
    scene.adjective = draw_adjective(rng, entry, kind)
    scene.doing = rng.choice(kind.doing) if kind.doing and rng.random() < active else ""
    scene.place = rng.choice(kind.places) if rng.random() < 0.62 else ""
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
