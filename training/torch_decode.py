"""Pieces per second of torch: a decoder that writes one piece in each of several rows at once, in half precision.

`python -m training.torch_decode --model FOLDER --batches 1,8,64 --past 64 --steps 64`

Prints a JSON list, one number for each batch. On a GPU where there is one, else on the processor.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROUNDS = 5


def step_seconds(model, device, batch, past, steps):
    """Median time of a step after `past` positions, whose attention cache grows as it does in generation."""
    times = []
    for _ in range(ROUNDS):
        ids = torch.randint(0, model.config.vocab_size, (batch, past), device=device)
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
        token = ids[:, -1:]
        for step in range(steps + 1):
            if step == 1:
                synchronise(device)
                begun = time.perf_counter()
            token = model(token, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)
        synchronise(device)
        times.append((time.perf_counter() - begun) / steps)
    return sorted(times)[len(times) // 2]


def synchronise(device):
    """Waits for the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--past", type=int, default=64)
    parser.add_argument("--steps", type=int, default=64)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype).to(device).eval()
    with torch.inference_mode():
        batches = [int(batch) for batch in arguments.batches.split(",")]
        speeds = [batch / step_seconds(model, device, batch, arguments.past, arguments.steps) for batch in batches]
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
