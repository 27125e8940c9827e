"""Measures an exported model folder on scenes and words that training never saw.

`python -m training.evaluate --model models/lede-nano --write`: prints a table; `--write` also puts it, with
unedited samples, between the markers of the model card.
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np

from .corpus import examples
from .corpus.hashtags import slug
from .corpus.words import plain_words
from .decode import TEMPERATURE, TOP_P, Writer
from .export import empty_past
from .layout import CONTEXT_TOKENS_MAX, answer_text, prompt_text

CORPUS_SEED = 20_001  # not the training run's
HASHTAGS = 5
SEEDS = 4
CARD_START, CARD_END = "<!-- evaluate: begin -->", "<!-- evaluate: end -->"
SMALL = frozenset("a an the my our of and with in on at by for to from".split())

# Typed by hand, not drawn. The first is made of phrases of the lexicon, so training may have held it; the others hold words
# or a build that it did not. They were looked at while the corpus was being written: they illustrate, the table measures.
WRITTEN = (
    ("casual", "Beautiful sunset over the ocean"),
    ("playful", "our cat Biscuit stole the remote again"),
    ("promotional", "new ceramic mugs, 20% off this weekend"),
    ("storytelling", "grandma teaching me to make pierogi in her kitchen"),
    ("luxury", "Suite with a view of Lake Como at the Hotel Valdoria"),
    ("minimal", "black and white photo of a spiral staircase"),
    ("bold", "Finished my first triathlon in Oulu!"),
    ("romantic", "us dancing in the rain on our honeymoon in Porto"),
    ("professional", "Our team at the Zentrix developer summit"),
    ("educational", "axolotl in a tank at the science museum"),
    ("inspirational", "climbing Mount Karvello at dawn"),
)


def content(text):
    return [word for word in re.findall(r"[^\W_]+", text.lower()) if word not in SMALL]


def heldout_loss(writer, items):
    """Mean loss per answer token, through ONNX Runtime."""
    total, count = 0.0, 0
    for item in items:
        prompt = writer.tokenizer.encode(prompt_text(item.style, item.description)).ids
        ids = prompt + writer.tokenizer.encode(answer_text(item.caption, item.hashtags)).ids
        if len(ids) > CONTEXT_TOKENS_MAX:
            continue
        feeds = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        logits = writer.session.run(["logits"], {**feeds, **empty_past(writer.session)})[0][0].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        answer = range(len(prompt), len(ids))
        total -= sum(logits[position - 1, ids[position]] for position in answer)
        count += len(answer)
    return total / count


def written(writer, items):
    """Per item, answers at the seeds 1 to SEEDS."""
    return [[writer.write(item.style, item.description, HASHTAGS, seed) for seed in range(1, SEEDS + 1)] for item in items]


def share(flags):
    flags = list(flags)
    return f"{100 * sum(flags) / len(flags):.1f} % of {len(flags)}" if flags else "none"


def numbers(text):
    return re.findall(r"\d+(?:[.:]\d+)?", text)


def table(items, answers, loss, seconds):
    """Rows of (what is measured, figure)."""
    pairs = [(item, answer) for item, group in zip(items, answers) for answer in group]
    copied = [(word.lower(), answer) for item, answer in pairs for word in item.invented]
    plain = [(word, answer) for word, answer in copied if word in set(plain_words())]
    invented = [(word, answer) for word, answer in copied if word not in set(plain_words())]
    subjects = [(item, answer) for item, answer in pairs if not item.invented]
    tags = [name for _, answer in pairs for name in answer.hashtags]
    used = [(item, name) for item, answer in pairs for name in answer.hashtags]
    facts = [(fact, answer) for item, answer in pairs for fact in numbers(item.description)]
    made_up = [any(n not in numbers(item.description) for n in numbers(answer.caption)) for item, answer in pairs]
    return [
        ("held-out descriptions × seeds", f"{len(items)} × {SEEDS}"),
        ("held-out loss per answer token (nats)", f"{loss:.4f}"),
        ("never-seen invented word in the caption, letter for letter", share(word in answer.caption.lower() for word, answer in invented)),
        ("plain English word kept from training, in the caption", share(word in answer.caption.lower() for word, answer in plain)),
        ("subject of a held-out scene in the caption", share(item.head.lower() in answer.caption.lower() for item, answer in subjects)),
        ("numbers of the description that are in the caption", share(fact in numbers(answer.caption) for fact, answer in facts)),
        ("captions with a number the description lacks", share(made_up)),
        ("any of these words among the hashtags, alone or joined", share(any(slug(w) in n for n in a.hashtags) for w, a in copied)),
        ("hashtags valid (lower-case ASCII letters and digits)", share(bool(re.fullmatch(r"[a-z0-9]*[a-z][a-z0-9]*", n)) for n in tags)),
        ("hashtags with a word of the description", share(any(w in n for w in map(slug, content(i.description)) if w) for i, n in used)),
        ("answers with exactly the hashtags asked for", share(len(answer.hashtags) == HASHTAGS for _, answer in pairs)),
        ("captions that ended by themselves", share(answer.whole for _, answer in pairs)),
        ("mean distinct captions among the seeds", f"{np.mean([len({a.caption for a in group}) for group in answers]):.2f} of {SEEDS}"),
        ("mean caption length (characters)", f"{np.mean([len(answer.caption) for _, answer in pairs]):.0f}"),
        ("milliseconds per answer, one thread", f"{1000 * seconds / len(pairs):.0f}"),
    ]


def samples(writer, pairs, seed=1):
    """Markdown of unedited answers."""
    lines = []
    for style, description in pairs:
        answer = writer.write(style, description, HASHTAGS, seed)
        tags = " ".join(f"#{name}" for name in answer.hashtags)
        lines.append(f"- **{style}**, “{description}”: {answer.caption} {tags}")
    return lines


def card(rows, lines):
    """The part of the model card that this program writes."""
    settings = f"Temperature {TEMPERATURE}, top-p {TOP_P}, {HASHTAGS} hashtags, in ONNX Runtime on the CPU."
    parts = [CARD_START, "", settings, "", "| Measure | Figure |", "|---|---|"]
    parts += [f"| {name} | {figure} |" for name, figure in rows]
    parts += ["", "Seed 1, unedited, one per style. The first description is made of phrases of the lexicon, so training may have held it; the others not:", "", *lines, "", CARD_END]
    return "\n".join(parts)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400, help="held-out descriptions, half of them with plain words")
    parser.add_argument("--write", action="store_true", help="into the model card")
    arguments = parser.parse_args()
    writer = Writer(arguments.model)
    half = arguments.count // 2
    items = list(examples(CORPUS_SEED, 0, half, "heldout")) + list(examples(CORPUS_SEED, half, half, "heldout", plain=True))
    loss = heldout_loss(writer, items)
    started = time.monotonic()
    answers = written(writer, items)
    rows = table(items, answers, loss, time.monotonic() - started)
    text = card(rows, samples(writer, WRITTEN))
    print(text)
    if arguments.write:
        path = arguments.model / "README.md"
        old = path.read_text(encoding="utf-8")
        before, after = old.split(CARD_START)[0], old.split(CARD_END)[1]
        path.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    main()
