"""Turns examples into padded batches of similar length, reproducible and resumable by chunk."""

import random
from dataclasses import dataclass

import torch

from .corpus import examples
from .layout import CONTEXT_TOKENS_MAX, SPECIALS, answer_text, prompt_text

CHUNK_EXAMPLES = 4096
# The description is given at inference: reading it well matters, writing it does not.
DESCRIPTION_WEIGHT = 0.1
IGNORED = -100


@dataclass(frozen=True)
class Corpus:
    """Which examples: those of a seed and a split, `count` of every chunk."""

    seed: int
    split: str = "train"
    count: int = CHUNK_EXAMPLES


def encode(tokenizer, texts):
    """Token ids of each text; specials in it become their vocabulary entries."""
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def check_specials(tokenizer):
    """Refuses a tokenizer that cuts a special into pieces."""
    for special in SPECIALS:
        if len(tokenizer.encode(special).ids) != 1:
            raise SystemExit(f"{special} is not one vocabulary entry")


def prompt_of(item):
    """The prompt of an example."""
    asked = item.asked
    return prompt_text(item.style, item.description, asked.emoji, asked.call_to_action, asked.must_include)


def rows_of_chunk(tokenizer, corpus, chunk):
    """(ids, length of the prompt) of every example of one chunk."""
    drawn = list(examples(corpus.seed, chunk * CHUNK_EXAMPLES, corpus.count, corpus.split))
    prompts = encode(tokenizer, [prompt_of(item) for item in drawn])
    answers = encode(tokenizer, [answer_text(item.caption, item.hashtags) for item in drawn])
    rows = [(prompt + answer, len(prompt)) for prompt, answer in zip(prompts, answers)]
    return [row for row in rows if len(row[0]) <= CONTEXT_TOKENS_MAX]


def batches_of_chunk(tokenizer, corpus, chunk, batch_tokens):
    """Batches of about `batch_tokens`, rows of similar length together, in a shuffled order."""
    rows = sorted(rows_of_chunk(tokenizer, corpus, chunk), key=lambda row: len(row[0]))
    batches, batch = [], []
    for row in rows:
        if batch and (len(batch) + 1) * len(row[0]) > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(row)
    batches.append(batch)
    random.Random(f"{corpus.seed}/{chunk}/order").shuffle(batches)
    return batches


def tensors(batch, pad_id):
    """Inputs, next-token targets and loss weights, each [rows, tokens]; right padding needs no mask under causal attention."""
    width = max(len(ids) for ids, _ in batch) - 1
    inputs = torch.full((len(batch), width), pad_id)
    targets = torch.full((len(batch), width), IGNORED)
    weights = torch.zeros((len(batch), width))
    for row, (ids, prompt) in enumerate(batch):
        length = len(ids) - 1
        inputs[row, :length] = torch.tensor(ids[:-1])
        targets[row, :length] = torch.tensor(ids[1:])
        weights[row, 2 : prompt - 1] = DESCRIPTION_WEIGHT
        weights[row, prompt - 1 : length] = 1.0
    return inputs, targets, weights
