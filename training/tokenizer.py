"""The byte-level BPE of lede-nano.

A word is cut together with the blank before it, and every text starts with a blank: so a word is cut the same way
wherever it stands, hashtags included, and copying it is copying its pieces, which a small model can learn. Digits are
pieces of their own.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .layout import BEGIN, END, SPECIALS

VOCABULARY_ENTRIES = 2048
# A contraction's tail, a run of letters with the blank before it, one digit, a run of anything else, a blank.
PIECE_PATTERN = r"'(?:s|t|re|ve|m|ll|d)\b| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s"


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
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
