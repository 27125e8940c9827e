"""Fills hand-written frames with what a description says, and adds what the caller asked for."""

import re

from .describe import capitalised, definite, indefinite, join
from .lexicon import frames

# Shares of captions that begin or end with a sentence of the style's own; minimal ones stay short.
OPENER_SHARE, CLOSER_SHARE = 0.16, 0.34
MINIMAL_SHARE = 0.3  # of those shares
ECHO_SHARE = 0.4  # of the captions of scenes whose description can be repeated
KIND_EMOJI = {
    "view": "✨🌿💫🌍🧭", "food": "😋🍴🤤👌🧡", "product": "✨🛍🎁💫🤍", "animal": "🐾💛😍🥰🤎", "people": "💛🙌😊🫶🤗",
    "event": "🎉🙌✨🥳💃", "thing": "💛✨🌱🏡🤍", "doing": "🙌💪😄🔥👏", "promo": "🎉🛍🔥✨📣",
}
STYLE_EMOJI = {
    "casual": "😊🙌✌", "inspirational": "✨🌟💫", "playful": "😂🤪🎈", "professional": "✅📈🤝", "luxury": "✨🥂🖤", "educational": "💡📚🔍",
    "storytelling": "📖✨🕰", "minimal": "🤍", "romantic": "❤💕💌", "bold": "🔥⚡💥", "promotional": "🛍📣🎉",
}
LIGHT_EMOJI, RICH_EMOJI = (1, 2), (3, 6)


def grammatical(frame, scene):
    """Whether the frame's bare noun takes a noun of this number."""
    allowed = {"1": "s", "+": "mp", "-": "smp"}
    return scene.kind in frame.kinds and all(scene.number in allowed[mark] for mark in frame.needs)


def subject_forms(scene):
    """The spans for {X}, {A} and {N}."""
    phrase = join(scene.adjective, scene.head)
    return {"X": definite(scene, phrase), "A": indefinite(scene, phrase), "N": scene.head}


def fill(text, scene):
    """A scene frame with its slots filled, not yet capitalised."""
    rest, time = join(scene.doing, scene.place, scene.detail), scene.time
    if time and "{T}" not in text:
        rest, time = join(rest, time), ""
    spans = subject_forms(scene)
    spans.update(G=scene.head, R=f" {rest}" if rest else "", T=f" {time}" if time else "")
    spans["O!"] = scene.offer
    text = re.sub(r"\[([^\[\]|]*)\|([^\[\]|]*)\]", lambda match: match.group(scene.form(2, 1)), text)
    return re.sub(r"\{([A-Z]!?)\}", lambda match: spans[match.group(1)], text)


def fill_echo(text, echo):
    """An echo frame; an echo with an end mark of its own keeps it."""
    mark = echo[-1] if echo[-1] in "!?" else "."
    sentence = echo.rstrip("!?.")
    return re.sub(r"\{(E|e)\}\.", lambda match: (capitalised(sentence) if match[1] == "E" else sentence) + mark, text)


def scene_body(style, scene, rng):
    """A frame that fits the scene."""
    of_style = frames()[style]
    if scene.offer and scene.kind != "doing" and rng.random() < 0.6:
        return fill(rng.choice(of_style.offers).text, scene)
    fitting = [frame for frame in of_style.captions if grammatical(frame, scene)]
    if scene.adjective:  # a bare noun would lose what is said of it
        fitting = [frame for frame in fitting if "{N}" not in frame.text] or fitting
    body = fill(rng.choice(fitting).text, scene)
    return f"{body} {capitalised(scene.offer)}." if scene.offer else body


def echo_body(style, kind, echo, rng):
    """A frame around what the description says."""
    fitting = [frame for frame in frames()[style].echoes if kind in frame.kinds]
    return fill_echo(rng.choice(fitting).text, echo)


def sentence_of(written, kind, rng):
    """An opener or closer that suits the kind; those made for it are preferred."""
    fitting = [frame for frame in written if kind in frame.kinds]
    own = [frame for frame in fitting if len(frame.kinds) < 4]
    return rng.choice(own if own and rng.random() < 0.5 else fitting).text


def around(style, kind, body, rng):
    """The sentences of the caption, perhaps with one of the style before it and one after."""
    share = MINIMAL_SHARE if style == "minimal" else 1.0
    of_style = frames()[style]
    before = [sentence_of(of_style.openers, kind, rng)] if rng.random() < OPENER_SHARE * share else []
    after = [sentence_of(of_style.closers, kind, rng)] if rng.random() < CLOSER_SHARE * share else []
    return [*before, body, *after]


def must_sentence(style, phrases, rng):
    """A sentence that brings in what the caller insists on."""
    named = " and ".join(phrases)
    return capitalised(rng.choice(frames()[style].musts).replace("{M}", named))


def is_whole_emoji(character):
    """Not a joiner, a variation selector, a skin tone or the letter of a keycap or flag."""
    code = ord(character)
    return code >= 0x2190 and not 0xFE00 <= code <= 0xFE0F and not 0x1F3FB <= code <= 0x1F3FF and not 0x1F1E6 <= code <= 0x1F1FF


def with_emoji(sentences, policy, style, emoji, rng):
    """Emoji after sentences: one or two, or at nearly every end."""
    if policy == "none":
        return " ".join(sentences)
    suiting = [character for character in emoji if is_whole_emoji(character)]
    spare = list(STYLE_EMOJI[style])
    count = rng.choice((1, 1, 2)) if policy == "light" else rng.randint(*RICH_EMOJI)
    drawn = (suiting + spare)[:1] if count == 1 else rng.sample(suiting + spare, min(count, len(suiting) + len(spare)))
    places = [len(sentences) - 1] if rng.random() < 0.6 else [rng.randrange(len(sentences))]
    while len(places) < len(drawn):
        places.append(rng.randrange(len(sentences)))
    marked = list(sentences)
    for place, character in zip(places, drawn):
        marked[place] += character if marked[place][-1] in "".join(suiting + spare) else f" {character}"
    return " ".join(marked)

