"""Writes answers with ONNX Runtime under the origin's rules for what may come next.

The same grammar as `origin/src/engine/grammar.rs`: a caption without '#', then exactly as many different
hashtags as were asked for; the same nucleus sampling, with another random generator.
"""

from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from .export import empty_past
from .layout import CONTEXT_TOKENS_MAX, END, SPECIALS, TAG, prompt_text

TEMPERATURE = 0.8
TOP_P = 0.95
CAPTION_PIECES_MAX = 160
HASHTAG_PIECES_MAX = 16
HASHTAGS_BEGUN_SPARE = 6


@dataclass
class Answer:
    """What the model wrote; `whole` is false when the context or the caption's limit ended it."""

    caption: str = ""
    hashtags: list = field(default_factory=list)
    whole: bool = True


class Writer:
    """A loaded model folder."""

    def __init__(self, folder, threads=1):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(str(folder / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tag, self.end = (self.tokenizer.token_to_id(special) for special in (TAG, END))
        self.outputs = [value.name for value in self.session.get_outputs()]
        self._make_masks()

    def _make_masks(self):
        """Which entries are text of a caption, its first entry, and of a hashtag."""
        texts = [self.tokenizer.decode([index], skip_special_tokens=False) for index in range(self.tokenizer.get_vocab_size())]
        special = np.array([text in SPECIALS for text in texts])
        hashed = np.array(["#" in text for text in texts])
        blank = np.array([not text.strip() for text in texts])
        self.in_caption = ~special & ~hashed
        self.first_in_caption = self.in_caption & ~blank
        self.in_hashtag = ~special & np.array([text.isascii() and text.isalnum() for text in texts])

    def run(self, ids, past, total):
        """Logits after `ids` and the attention cache that holds them."""
        feeds = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, total), np.int64), **past}
        values = dict(zip(self.outputs, self.session.run(None, feeds)))
        logits = values.pop("logits")[0, -1]
        return logits, {name.replace("present.", "past_key_values."): value for name, value in values.items()}

    def write(self, style, description, hashtag_count, seed):
        """One answer."""
        generator = np.random.default_rng(seed)
        ids = self.tokenizer.encode(prompt_text(style, description)).ids
        logits, past = self.run(ids, empty_past(self.session), len(ids))
        state, total = State(self, hashtag_count), len(ids)
        while total < CONTEXT_TOKENS_MAX:
            chosen = draw(logits, state.allowed(), generator)
            state.accept(chosen)
            if chosen == self.end:
                break
            total += 1
            logits, past = self.run([chosen], past, total)
        return state.answer


class State:
    """Where an answer stands."""

    def __init__(self, writer, hashtag_count):
        self.writer, self.count = writer, hashtag_count
        self.answer, self.part, self.begun, self.in_caption = Answer(), [], 0, True

    def name(self):
        """The hashtag being written; capitals fold as in the origin."""
        return self.writer.tokenizer.decode(self.part).lower()

    def usable(self, name):
        return any(character.isalpha() for character in name) and name not in self.answer.hashtags

    def allowed(self):
        """A mask over the vocabulary."""
        writer = self.writer
        if self.in_caption:
            mask = (writer.in_caption if self.part else writer.first_in_caption).copy()
            mask &= len(self.part) < CAPTION_PIECES_MAX
            if self.part:
                mask[writer.tag if self.count else writer.end] = True
            return mask
        mask = writer.in_hashtag & (len(self.part) < HASHTAG_PIECES_MAX)
        usable, full = self.usable(self.name()), len(self.part) >= HASHTAG_PIECES_MAX
        may_repeat = self.part and self.begun < self.count + HASHTAGS_BEGUN_SPARE
        if usable or may_repeat or full:
            complete = len(self.answer.hashtags) + usable
            enough = complete >= self.count or self.begun >= 2 * self.count + HASHTAGS_BEGUN_SPARE
            mask[writer.end if enough else writer.tag] = True
        return mask

    def accept(self, chosen):
        """Takes an allowed entry."""
        writer = self.writer
        if chosen not in (writer.tag, writer.end):
            self.part.append(chosen)
            return
        if self.in_caption:
            self.answer.caption = writer.tokenizer.decode(self.part).strip()
            self.answer.whole = len(self.part) < CAPTION_PIECES_MAX
            self.in_caption = False
        elif self.usable(self.name()):
            self.answer.hashtags.append(self.name())
        self.part = []
        self.begun += chosen == writer.tag


def draw(logits, mask, generator):
    """Nucleus sampling among the allowed entries."""
    scaled = np.where(mask, logits.astype(np.float64) / TEMPERATURE, -np.inf)
    weights = np.exp(scaled - scaled.max())
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order])
    keep = int(np.searchsorted(sums, TOP_P * sums[-1])) + 1
    chosen = np.searchsorted(sums[:keep], generator.random() * sums[min(keep, len(sums)) - 1], side="right")
    return int(order[min(chosen, keep - 1)])
