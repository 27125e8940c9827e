"""The shapes that lede-nano is trained in."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .layout import CONTEXT_TOKENS_MAX

SHAPES = {
    "cpu": dict(hidden_size=192, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=2, intermediate_size=512),
    "gpu": dict(hidden_size=512, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4, intermediate_size=1408),
}


def build_model(preset, vocabulary_entries, begin_id, end_id, seed):
    """A freshly initialised Llama decoder in the preset's shape, reproducible from `seed`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary_entries,
        max_position_embeddings=CONTEXT_TOKENS_MAX,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=begin_id,
        eos_token_id=end_id,
        pad_token_id=end_id,
        initializer_range=0.03,
        **SHAPES[preset],
    )
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config)


def parameter_count(model):
    """Distinct parameters; a tied head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
