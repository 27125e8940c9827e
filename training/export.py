"""Writes a model folder: fp16 weights, and the fp32 ONNX graph made from those same rounded weights.

`python -m training.export --checkpoint CHECKPOINT --tokenizer TOKENIZER.json --out models/lede-nano`
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

from .corpus.hashtags import SMALL_WORDS
from .corpus.lexicon import caption_words, known_hashtags, names_in_frames, related_hashtags, style_tags
from .layout import BEGIN, END, MODEL_ID, model_manifest
from .model import build_model
from .tokenizer import tokenizer_config

LOGITS_DIFFERENCE_MAX = 1e-4
FOLDER_BYTES_MAX = 32 * 1024 * 1024
AGREEMENT_PROMPTS = 8


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def rounded_to_fp16(state):
    """Rounds once: what safetensors holds in fp16 is exactly what the fp32 graph holds."""
    rounded = {name: value.to(torch.float16).contiguous() for name, value in state.items()}
    rounded.pop("lm_head.weight", None)  # tied to the embedding
    return rounded


def lexicon():
    """Which words the origin lets the model write, besides those of a request, and which hashtags go with what."""
    return {
        "caption_words": sorted(set(caption_words()) - set(names_in_frames())),
        "hashtags": known_hashtags(),
        "hashtags_of_styles": style_tags(),
        "hashtags_of_scenes": related_hashtags(),
        "small_words": sorted(SMALL_WORDS),
    }


def write_hugging_face(model, tokenizer_path, out):
    """Everything but the ONNX graph."""
    out.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    config.update(
        architectures=["LlamaForCausalLM"],
        dtype="float16",
        torch_dtype="float16",
        rope_theta=config["rope_parameters"]["rope_theta"],
    )
    write_json(out / "config.json", dict(sorted((k, v) for k, v in config.items() if v is not None)))
    write_json(
        out / "generation_config.json",
        {
            "bos_token_id": config["bos_token_id"],
            "eos_token_id": config["eos_token_id"],
            "pad_token_id": config["pad_token_id"],
            "do_sample": True,
            "temperature": 0.8,
            "top_p": 0.95,
        },
    )
    write_json(out / "tokenizer_config.json", tokenizer_config())
    write_json(out / "lede.json", model_manifest())
    (out / "lexicon.json").write_text(json.dumps(lexicon(), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    if Path(tokenizer_path).resolve() != (out / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer_path, out / "tokenizer.json")
    weights = out / "model.safetensors"
    save_file(rounded_to_fp16(model.state_dict()), weights, metadata={"format": "pt", "id": MODEL_ID})
    weights.chmod(0o644)


def write_onnx(out):
    """Runs onnxruntime-genai's builder on the folder and packs its graph into one file."""
    with tempfile.TemporaryDirectory() as scratch:
        built, cache = Path(scratch) / "built", Path(scratch) / "cache"
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(out), "-o", str(built), "-p", "fp32", "-e", "cpu", "-c", str(cache)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"onnxruntime-genai's builder failed:\n{ran.stdout}\n{ran.stderr}")
        graph = onnx.load(built / "model.onnx", load_external_data=True)
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # the builder leaves paths of this machine in some versions
    fix_head_size(graph, json.loads((out / "config.json").read_text())["head_dim"])
    (out / "onnx").mkdir(exist_ok=True)
    path = out / "onnx" / "model.onnx"
    onnx.save_model(graph, path, save_as_external_data=False)
    check_graph(graph)
    return path


def fix_head_size(graph, head_dim):
    """States the head size that the builder leaves symbolic, so a reader can size its attention cache."""
    for value in [*graph.graph.input, *graph.graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == "kv_cache_dim":
                dimension.dim_value = head_dim


def check_graph(graph):
    """Runs onnx's checker on the graph.

    ONNX Runtime registers SimplifiedLayerNormalization in the default domain, which the checker refuses as
    unknown; a copy that names it by the vendor's domain is checked instead. Operators run for real below.
    """
    named = onnx.ModelProto()
    named.CopyFrom(graph)
    for node in named.graph.node:
        if node.op_type == "SimplifiedLayerNormalization":
            node.domain = "com.microsoft"
    onnx.checker.check_model(named)


def empty_past(session):
    """Zero-length attention cache inputs for a first run, by name."""
    past = {}
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            past[value.name] = np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
    return past


def logits_difference(out):
    """Largest |ORT - transformers| over random prompts, on the exported weights."""
    reference = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    session = ort.InferenceSession(str(out / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(1)
    worst = 0.0
    for prompt in range(AGREEMENT_PROMPTS):
        ids = generator.integers(0, reference.config.vocab_size, (1, 8 + 24 * prompt), dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), **empty_past(session)}
        ours = session.run(["logits"], feeds)[0]
        with torch.no_grad():
            theirs = reference(torch.from_numpy(ids)).logits.numpy()
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


def export(model, tokenizer_path, out):
    """Writes and checks the whole folder; returns the measured difference and the folder's bytes."""
    write_hugging_face(model, tokenizer_path, out)
    write_onnx(out)
    difference = logits_difference(out)
    if difference > LOGITS_DIFFERENCE_MAX:
        raise SystemExit(f"ONNX and transformers differ by {difference:.2e}, more than {LOGITS_DIFFERENCE_MAX:.0e}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > FOLDER_BYTES_MAX:
        raise SystemExit(f"{out} holds {size} bytes, more than {FOLDER_BYTES_MAX}")
    return difference, size


def load_checkpoint_model(checkpoint):
    """The model of a checkpoint that `train` wrote."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = build_model(saved["preset"], saved["vocabulary_entries"], saved["begin_id"], saved["end_id"], seed=0)
    model.load_state_dict(saved["model"])
    return model.eval()


def untrained_model(tokenizer_path):
    """Random weights in the right shape, for building against before training ends."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    ids = [tokenizer.token_to_id(special) for special in (BEGIN, END)]
    return build_model("cpu", tokenizer.get_vocab_size(), *ids, seed=0).eval()


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="without it, random weights")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_checkpoint_model(arguments.checkpoint) if arguments.checkpoint else untrained_model(arguments.tokenizer)
    difference, size = export(model, arguments.tokenizer, arguments.out)
    print(f"{arguments.out}: {size / 1e6:.2f} MB, largest logit difference {difference:.2e}")


if __name__ == "__main__":
    main()
