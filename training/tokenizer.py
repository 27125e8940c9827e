"""The byte-level BPE of lede-nano.

Spaces and digits are pieces of their own, so a word is cut the same way after a space, at the start of
a caption and inside a hashtag: copying a word is then copying its pieces, which a small model can learn.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .layout import SPECIALS

VOCABULARY_ENTRIES = 1024
# A run of letters with its contraction, one digit, one space, or a run of anything else.
PIECE_PATTERN = r"'(?:s|t|re|ve|m|ll|d)\b|\p{L}+|\p{N}|\s|[^\s\p{L}\p{N}]+"


def train_tokenizer(texts, entries=VOCABULARY_ENTRIES):
    """Trains on plain texts (no specials in them); encodes any UTF-8 without loss."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def tokenizer_config():
    """The content of `tokenizer_config.json` for transformers."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[0],
        "eos_token": SPECIALS[4],
        "pad_token": SPECIALS[4],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
