"""The many ways in which people type the same thing into a box, and the sentence that a caption may repeat of it."""

import re
from dataclasses import dataclass

from .scene import article

REMARKS = (
    "It made my day.", "The weather was perfect.", "We had a great time.", "First time here.", "Everyone loved it.", "It was so quiet.", "I was so happy.",
    "Feeling grateful.", "It took a while.", "Such a nice moment.", "I love the colours.", "We will be back.", "It was cold but worth it.", "The light was lovely.",
    "My phone was almost out of battery.", "It reminded me of when I was little.", "People kept asking about it.", "I nearly missed it.", "We stayed for hours.",
    "My friends were there too.", "It felt special.", "We laughed a lot.", "I want to remember this.", "It was my idea.", "We planned it for months.",
    "There was music playing.", "I was tired but happy.", "It was a long day.", "It smelled amazing.",
)
# Said to whoever writes the caption; no reader of the post should see it.
INSTRUCTIONS_BEFORE = (
    "caption for", "a caption for", "Need a caption for", "Write a caption about", "write something about", "Post about", "post about", "Instagram post about",
    "photo of", "Photo of", "A picture of", "picture of", "a photo of", "Reel of", "Video of", "pic of", "I took a photo of", "Image:", "Caption idea:", "Please write about",
)
INSTRUCTIONS_AFTER = (
    "Need a caption for this.", "Please make it fun.", "No filter.", "Took this one myself.", "The picture is a bit blurry.", "You can see the details.", "caption please",
    "Make it short.", "Something catchy please.", "Keep it simple.", "thanks!", "Write it nicely.", "for instagram", "Not too long.",
)
EMOJI = "🌅😊❤🎉🔥✨🐶🌸☀😍"
OPENINGS = {
    "view": "We saw;This is;There was;Look at;Came across;You can see;Woke up to;We found;Stopped for",
    "food": "We had;I made;This is;Trying;Today we are serving;I ordered;We ate;Just baked;Finally tried;Sharing",
    "product": "This is;We are launching;Introducing;I just bought;We made;Selling;We now have;Announcing;Got;We just restocked",
    "animal": "This is;We saw;Look at;Meet;I met;Here is;Spotted",
    "people": "This is;Here is;I am with;Proud of;So happy for",
    "event": "We had;We are hosting;I went to;This was;Join us for;We are planning;Just back from;Getting ready for",
    "thing": "This is;I made;Just finished;We have;Look at;I finally have;Here is;Working on",
    "doing": "We spent the day;I love;Today I am;We are;I was;Us;Me;I started",
}


@dataclass(frozen=True)
class Typed:
    """A description as typed; what of it is a sentence to repeat, without its stop ('' when it is none); typed without
    capitals?; a word and how it was misspelt."""

    text: str
    echo: str = ""
    lower: bool = False
    slip: tuple = ("", "")

    def slipped(self, text):
        """The text with the same slip of the fingers: what is typed is never corrected."""
        return text.replace(*self.slip) if self.slip[0] else text


def join(*parts):
    """Parts in order, without the empty ones."""
    return " ".join(part for part in parts if part)


def bare(scene):
    """Adjective and head, without a determiner."""
    return join(scene.adjective, scene.head)


def indefinite(scene, phrase=None):
    """As first mentioned: 'a golden sunset', 'my dog', 'ceramic mugs', 'Velmora'."""
    phrase = bare(scene) if phrase is None else phrase
    if scene.determiner and scene.determiner != "a":
        return f"{scene.determiner} {phrase}"
    if scene.number == "s" and scene.kind != "doing":
        return f"{article(phrase)} {phrase}"
    return phrase


def definite(scene, phrase=None):
    """As known: 'the golden sunset', 'my dog', 'the ceramic mugs', 'Velmora'."""
    phrase = bare(scene) if phrase is None else phrase
    if scene.determiner and scene.determiner != "a":
        return f"{scene.determiner} {phrase}"
    if scene.is_name or scene.kind == "doing":
        return phrase
    return f"the {phrase}"


def rest(scene):
    """Everything said about the subject after its noun."""
    return join(scene.doing, scene.place, scene.detail)


def place_noun(scene):
    """'over the ocean' to 'ocean'; 'in Lisbon' to 'Lisbon'."""
    words = [word for word in scene.place.split()[1:] if word not in ("of", "to", "the", "a", "our", "my", "front", "back")]
    return " ".join(words)


def capitalised(text):
    """Capital letters where sentences start."""
    return re.sub(r"(^|[.!?] )([a-zà-ÿ])", lambda match: match.group(1) + match.group(2).upper(), text)


def terse(scene, rng):
    """No verb, often no article. Now and then where and when come first."""
    head = rng.choice((bare(scene), bare(scene), indefinite(scene), definite(scene)))
    if scene.kind in ("animal", "people") and scene.determiner and rng.random() < 0.8:
        head = indefinite(scene)
    text = join(head, rest(scene), scene.time)
    if scene.place and rng.random() < 0.12:
        return text, f"{join(scene.place, scene.time)}: {join(head, scene.doing, scene.detail)}"
    return text, text


def listed(scene, rng):
    """Comma or space separated keywords: nothing to repeat as it stands."""
    parts = [scene.head, scene.adjective, scene.doing, place_noun(scene), scene.detail, scene.time]
    parts = [part for part in parts if part]
    if rng.random() < 0.4:
        rng.shuffle(parts)
    return rng.choice((", ", ", ", " ")).join(parts), ""


def opened(scene, rng):
    """A sentence that presents the subject."""
    opening = rng.choice(OPENINGS[scene.kind].split(";"))
    if scene.number == "p":
        opening = {"This is": "These are", "There was": "There were", "This was": "These were", "Here is": "Here are"}.get(opening, opening)
    opening = opening if opening.startswith("I ") else opening[:1].lower() + opening[1:]
    phrase = scene.head if scene.kind == "doing" else indefinite(scene)
    text = join(opening, phrase, rest(scene), scene.time)
    return text, text if rng.random() < 0.7 or scene.kind == "doing" else join(phrase, rest(scene), scene.time)


def verbal(scene, rng):
    """A full sentence about the subject."""
    if scene.kind == "doing":
        return opened(scene, rng)
    verb = scene.form("are", "is")
    subject = definite(scene, scene.head) if rng.random() < 0.5 else definite(scene)
    if subject == definite(scene):
        if not scene.doing and not scene.place:
            return opened(scene, rng)
        text = join(subject, verb, rest(scene), scene.time)
        return text, text
    if not scene.adjective:
        return opened(scene, rng)
    text = join(subject, verb, scene.adjective, rest(scene), scene.time)
    return text, text


def two_sentences(scene, rng):
    """The subject first, the rest in a second sentence."""
    if scene.kind == "doing" or rng.random() < 0.3 or not rest(scene):
        text, echo = opened(scene, rng)
        remark = rng.choice(REMARKS).rstrip(".")
        return f"{text}. {remark}", f"{echo}. {remark}"
    opening = rng.choice((scene.form("these are", "this is"), "we have", "look at", ""))
    pronoun = scene.form("They are", rng.choice(("She is", "He is", "It is")) if scene.kind in ("animal", "people") else "It is")
    text = f"{join(opening, indefinite(scene))}. {join(pronoun, rest(scene), scene.time)}"
    return text, join(indefinite(scene), rest(scene), scene.time) if rng.random() < 0.5 else text


def with_offer(text, scene, rng):
    if not scene.offer:
        return text
    joiner = rng.choice((", ", ", ", " - ", ": ", ". ", " "))
    return text + joiner + (capitalised(scene.offer) if joiner == ". " else scene.offer)


def slip_of(text, rng):
    """A longer word of the text and one slip of the fingers in it."""
    words = [word for word in text.split(" ") if len(word) > 5 and word.isalpha() and text.lower().count(word.lower()) == 1]
    if not words:
        return "", ""
    word = rng.choice(words)
    at = rng.randint(1, len(word) - 3)
    slips = (word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    return word, rng.choice(slips)


def as_typed(text, echo, rng):
    """With the carelessness of people: no capitals, a slip, an instruction, an emoji."""
    lower = rng.random() < 0.25
    if lower:
        text, echo = text.lower(), re.sub(r"\bi\b", "I", echo.lower())
    slip = slip_of(text, rng) if echo and rng.random() < 0.05 else ("", "")
    if slip[0]:
        text, echo = text.replace(*slip), echo.replace(*slip)
    typed = text if lower or rng.random() < 0.15 else capitalised(text)
    roll = rng.random()
    if roll < 0.10 and not typed.startswith(("I ", "We ", "i ", "we ", "I'm ")):
        typed = f"{rng.choice(INSTRUCTIONS_BEFORE)} {text}"
        typed = typed.lower() if lower else typed
    elif roll < 0.16:
        said = rng.choice(INSTRUCTIONS_AFTER)
        typed = f"{typed}{rng.choice(('. ', '. ', ', '))}{said.lower() if lower else said}"
    if not typed.endswith((".", "!", "?")) and rng.random() < 0.45:
        typed += rng.choice("....!")
    if rng.random() < 0.03:
        typed = f"{typed} {rng.choice(EMOJI)}"
    return Typed(typed, echo, lower, slip)


def with_remarks(typed, rng):
    """The chatter of somebody who types a lot; a few fill much of the context. None of it is repeated."""
    if rng.random() > 0.02:
        return typed
    spoken = rng.sample(REMARKS, rng.randint(5, len(REMARKS)))
    spoken = [remark.lower() for remark in spoken] if typed.lower else spoken
    before = spoken[: rng.randint(0, len(spoken))] if rng.random() < 0.3 else []
    text = typed.text if typed.text.endswith((".", "!", "?")) else f"{typed.text}."
    return Typed(join(*before, text, *spoken[len(before) :]), typed.echo, typed.lower, typed.slip)


def describe(scene, rng):
    """A scene, typed."""
    form = rng.choices((terse, listed, opened, verbal, two_sentences), (42, 10, 20, 14, 12))[0]
    text, echo = form(scene, rng)
    text = with_offer(text, scene, rng)
    if scene.offer and echo:
        echo = rng.choice((f"{echo}, {scene.offer}", f"{echo}. {capitalised(scene.offer)}", f"{echo}: {scene.offer}"))
    return with_remarks(as_typed(text, echo, rng), rng)
