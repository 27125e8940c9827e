"""The many ways in which people type the same scene into a box."""

import re

from .scene import article

ASIDES = (
    "It made my day.", "The weather was perfect.", "We had a great time.", "Need a caption for this.", "First time here.",
    "Everyone loved it.", "It was so quiet.", "I was so happy.", "Feeling grateful.", "It took a while.", "Such a nice moment.",
    "I love the colours.", "We will be back.", "It was cold but worth it.", "No filter.", "Took this one myself.",
    "The light was lovely.", "My phone was almost out of battery.", "It reminded me of when I was little.", "Please make it fun.",
    "People kept asking about it.", "I nearly missed it.", "We stayed for hours.", "My friends were there too.", "It felt special.",
    "We laughed a lot.", "I want to remember this.", "It was my idea.", "The picture is a bit blurry.", "We planned it for months.",
    "There was music playing.", "I was tired but happy.", "It was a long day.", "You can see the details.", "It smelled amazing.",
)
EMOJI = "🌅😊❤🎉🔥✨🐶🌸☀😍"


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


def terse(scene, rng):
    """No verb, often no article."""
    head = rng.choice((bare(scene), bare(scene), indefinite(scene), definite(scene)))
    if scene.kind in ("animal", "people") and scene.determiner and rng.random() < 0.8:
        head = indefinite(scene)
    return join(head, rest(scene), scene.time)


def listed(scene, rng):
    """Comma or space separated keywords."""
    parts = [scene.head, scene.adjective, scene.doing, place_noun(scene), scene.detail, scene.time]
    parts = [part for part in parts if part]
    if rng.random() < 0.4:
        rng.shuffle(parts)
    return rng.choice((", ", ", ", " ")).join(parts)


def opened(scene, rng):
    """A sentence that presents the subject."""
    if scene.kind == "doing":
        opening = rng.choice(("We spent the day", "I love", "Today I am", "We are", "A photo of me", "I was", "Us", "Me", "I started"))
        return join(opening, scene.head, rest(scene), scene.time) + "."
    openings = {
        "view": "We saw;I took a photo of;This is;There was;Look at;Photo of;A picture of;View of;Came across;You can see",
        "food": "We had;I made;This is;Trying;Photo of;Today we are serving;I ordered;A picture of;We ate;Just baked",
        "product": "This is;We are launching;Introducing;I just bought;We made;Photo of;Selling;We now have;Announcing;Got",
        "animal": "This is;We saw;A photo of;Look at;Meet;I met;Picture of;Here is",
        "people": "This is;A photo of;Picture of;Here is;I am with;Portrait of;A picture with",
        "event": "We had;We are hosting;I went to;This was;Photos from;A picture from;Join us for;We are planning;Just back from",
        "thing": "This is;I made;Just finished;We have;A photo of;Look at;I finally have;Here is;Working on",
    }[scene.kind].split(";")
    return join(rng.choice(openings), indefinite(scene), rest(scene), scene.time) + rng.choice(".....!")


def verbal(scene, rng):
    """A full sentence about the subject."""
    if scene.kind == "doing":
        return opened(scene, rng)
    verb = scene.form("are", "is")
    subject = definite(scene, scene.head) if rng.random() < 0.5 else definite(scene)
    if subject == definite(scene):
        if not scene.doing and not scene.place:
            return opened(scene, rng)
        return join(subject, verb, rest(scene), scene.time) + "."
    if not scene.adjective:
        return opened(scene, rng)
    return join(subject, verb, scene.adjective, rest(scene), scene.time) + "."


def two_sentences(scene, rng):
    """The subject first, the rest in a second sentence."""
    if scene.kind == "doing":
        return join(opened(scene, rng), rng.choice(ASIDES))
    first = join(rng.choice(("This is", "Here is", "We have", "My photo shows", "Look at", "")), indefinite(scene)) + "."
    pronoun = scene.form("They are", rng.choice(("She is", "He is", "It is")) if scene.kind in ("animal", "people") else "It is")
    second = join(pronoun, rest(scene), scene.time) + "." if rest(scene) else join(scene.time, rng.choice(ASIDES))
    if rng.random() < 0.3:
        return join(opened(scene, rng), rng.choice(ASIDES))
    return join(first, capitalised(second))


def capitalised(text):
    """Capital letters where sentences start."""
    return re.sub(r"(^|[.!?] )([a-zà-ÿ])", lambda match: match.group(1) + match.group(2).upper(), text)


def with_offer(text, scene, rng):
    if not scene.offer:
        return text
    closed = text.endswith((".", "!"))
    joiner = rng.choice((" ", ". ")) if closed else rng.choice((", ", ", ", " - ", ": ", ". ", " "))
    return text.rstrip(".!") + joiner + scene.offer if joiner != " " or not closed else f"{text} {capitalised(scene.offer)}"


def with_asides(text, rng):
    """Now and then the chatter of somebody who types a lot; a few fill much of the context."""
    roll = rng.random()
    if roll > 0.075:
        return text
    count = rng.randint(12, 45) if roll < 0.015 else rng.randint(2, 5)
    spoken = [rng.choice(ASIDES) for _ in range(count)]
    before = spoken[: rng.randint(0, count)] if rng.random() < 0.3 else []
    return join(*before, text if text.endswith((".", "!")) else f"{text}.", *spoken[len(before) :])


def describe(scene, rng):
    """One description of the scene; second, whether it is typed all in lower case."""
    form = rng.choices((terse, listed, opened, verbal, two_sentences), (42, 12, 20, 14, 12))[0]
    text = with_offer(form(scene, rng), scene, rng)
    lower = rng.random() < 0.25
    if lower:
        text = text.lower()
    elif rng.random() < 0.85:
        text = capitalised(text)
    if rng.random() < 0.3:
        text = text.rstrip(".")
    text = with_asides(text, rng)
    if rng.random() < 0.03:
        text = f"{text} {rng.choice(EMOJI)}"
    return (text.lower() if lower else text), lower
