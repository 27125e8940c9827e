"""Writes a model folder with random weights: a real architecture, tokenizer, chat template, weights and ONNX graph.

`python -m training.random_model --preset tiny-llama|tiny-qwen2|tiny-qwen3|tiny-smollm3|smollm2-135m --out FOLDER`

The tiny ones are the fixtures of the tests (`tests/fixtures/models`), with transformers' logits beside them; the large
one has SmolLM2-135M's shape. Those of layout `weights` have no graph and no text side. The onnxruntime-genai layout is made with `requirements.txt`, the transformers.js layout
with `requirements-optimum.txt`, in an environment of its own, because optimum-onnx wants transformers 4.57.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = Path(__file__).parent / "corpus"
LOGITS_FILE = "expected_logits.json"
PROMPT_FILE = "expected_prompt.json"
MERGED_FILE = "decoder_model_merged_fp16.onnx"
# Few in what is committed, more where nothing is.
GOLDEN_PROMPTS, GOLDEN_PROMPTS_LARGE = 2, 8
GOLDEN_STEPS = 2
# Pieces of the padding: long enough that no merge makes them.
PADDING_LETTERS = "bcdfghjklmnpqrstvwxz"

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou write captions.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NO_SYSTEM_ROLE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Preset:
    """One model."""

    architecture: str
    layout: str
    sentence_piece: bool
    shape: dict
    seed: int
    golden: bool


PRESETS = {
    "tiny-llama": Preset(
        "Llama",
        "genai",
        True,
        dict(
            vocab_size=480,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            intermediate_size=48,
            max_position_embeddings=2048,
            initializer_range=0.2,
        ),
        1,
        True,
    ),
    "tiny-qwen2": Preset(
        "Qwen2",
        "transformers.js",
        False,
        dict(
            vocab_size=320,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            max_position_embeddings=2048,
            initializer_range=0.3,
        ),
        2,
        True,
    ),
    "tiny-qwen3": Preset(
        "Qwen3",
        "weights",
        False,
        dict(
            vocab_size=96,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            intermediate_size=32,
            max_position_embeddings=256,
            initializer_range=0.3,
        ),
        4,
        True,
    ),
    "tiny-smollm3": Preset(
        "SmolLM3",
        "weights",
        False,
        dict(
            vocab_size=96,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            max_position_embeddings=256,
            initializer_range=0.3,
            no_rope_layer_interval=2,
            attention_bias=True,
            mlp_bias=True,
            pad_token_id=0,
            tie_word_embeddings=False,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=10_000.0,
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        5,
        True,
    ),
    "smollm2-135m": Preset(
        "Llama",
        "genai",
        False,
        dict(
            vocab_size=49_152,
            hidden_size=576,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            intermediate_size=1536,
            max_position_embeddings=8192,
            initializer_range=0.04,
            rope_theta=100_000.0,
        ),
        3,
        False,
    ),
}


def corpus_texts():
    """Every line of the corpus's text files, in a fixed order."""
    for path in sorted(CORPUS.rglob("*.txt")):
        yield from (line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def byte_level_tokenizer(entries):
    """ChatML's specials and a byte-level BPE, filled up to `entries` with pieces that no merge makes."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus_texts(), trainer=trainer)
    document = json.loads(tokenizer.to_str())
    vocabulary = document["model"]["vocab"]
    for number in range(entries - len(vocabulary)):
        letters, rest = "", number
        for _ in range(8):
            rest, letter = divmod(rest, len(PADDING_LETTERS))
            letters += PADDING_LETTERS[letter]
        vocabulary["Ġ" + letters] = len(vocabulary)
    return Tokenizer.from_str(json.dumps(document)), CHATML, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}


def sentence_piece_tokenizer(entries):
    """A BPE with byte fallback as Llama 2 and Mistral have it: `▁` is a blank, unknown characters are bytes."""
    specials = ["<unk>", "<s>", "</s>"]
    scratch = Tokenizer(models.BPE(unk_token="<unk>"))
    scratch.normalizer = normalizers.Replace(" ", "▁")
    scratch.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=entries - 256, special_tokens=specials, limit_alphabet=64, show_progress=False
    )
    scratch.train_from_iterator(corpus_texts(), trainer=trainer)
    trained = json.loads(scratch.to_str())["model"]
    order = sorted(trained["vocab"], key=trained["vocab"].get)
    order = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *order[len(specials) :]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: id_ for id_, piece in enumerate(order)},
            merges=[tuple(pair) for pair in trained["merges"]],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in specials])
    return tokenizer, NO_SYSTEM_ROLE, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_text_side(preset, out):
    """Tokenizer, template and generation settings; returns the ids of begin and end."""
    make = sentence_piece_tokenizer if preset.sentence_piece else byte_level_tokenizer
    tokenizer, template, specials = make(preset.shape["vocab_size"])
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **specials}
    if preset.sentence_piece:
        (out / "chat_template.jinja").write_text(template, encoding="utf-8")
    else:
        config["chat_template"] = template
    write_json(out / "tokenizer_config.json", config)
    begin, end = (tokenizer.token_to_id(specials[name]) for name in ("bos_token", "eos_token"))
    ends = [end] if preset.sentence_piece else [end, tokenizer.token_to_id("<|endoftext|>")]
    settings = {"bos_token_id": begin, "eos_token_id": ends, "do_sample": True, "temperature": 0.7, "top_p": 0.9}
    write_json(out / "generation_config.json", settings)
    return begin, end


def random_model(preset, begin, end):
    """The architecture with weights of a fixed seed."""
    config_class = getattr(transformers, f"{preset.architecture}Config")
    shape = dict(preset.shape)
    theta = shape.pop("rope_theta", 10_000.0)
    rope = {"rope_theta": theta} if transformers.__version__.startswith("4.") else {
        "rope_parameters": {"rope_type": "default", "rope_theta": theta}
    }
    settings = {**rope, "tie_word_embeddings": True, **shape}
    config = config_class(**settings, bos_token_id=begin, eos_token_id=end)
    torch.manual_seed(preset.seed)
    model = getattr(transformers, f"{preset.architecture}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    return model


def write_weights(model, out):
    """Weights and config.json; `rope_theta` stands at the top level too, where older readers look."""
    model.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    rope = config.get("rope_parameters")
    if rope:
        config["rope_theta"] = rope["rope_theta"]
    write_json(out / "config.json", config)


def export_genai(folder, out, is_tiny):
    """onnxruntime-genai's builder: GroupQueryAttention, shared buffers, no position ids."""
    from .export import fix_head_size

    with tempfile.TemporaryDirectory() as scratch:
        built, cache = Path(scratch) / "built", Path(scratch) / "cache"
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder), "-o", str(built)]
        ran = subprocess.run([*command, "-p", "fp32", "-e", "cpu", "-c", str(cache)], capture_output=True, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"onnxruntime-genai's builder failed:\n{ran.stdout}\n{ran.stderr}")
        graph = onnx.load(built / "model.onnx", load_external_data=True)
    config = json.loads((folder / "config.json").read_text())
    fix_head_size(graph, config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    if is_tiny:
        compute_rotary_tables(graph.graph)
    save_graph(graph, out / "model.onnx")


def compute_rotary_tables(graph):
    """The builder writes out the cosine of every position; here ONNX Runtime works them out at loading.

    The table's second row, whose position is 1, holds the angles.
    """
    tables = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if "_cache" in tensor.name}
    sines = next(table for name, table in tables.items() if name.startswith("sin"))
    cosines = next(table for name, table in tables.items() if name.startswith("cos"))
    angles = np.arctan2(sines[1].astype(np.float64), cosines[1].astype(np.float64))
    positions = np.arange(2, dtype=np.float64)[:, None]
    assert np.allclose(np.cos(positions * angles), cosines[:2], atol=1e-6)
    values = {"rotary_first": np.int64(0), "rotary_past": np.int64(len(sines)), "rotary_step": np.int64(1)}
    values |= {"rotary_angles": angles.astype(np.float32)[None, :], "rotary_axis": np.array([1], np.int64)}
    node = onnx.helper.make_node
    nodes = [
        node("Range", ["rotary_first", "rotary_past", "rotary_step"], ["rotary_whole"]),
        node("Cast", ["rotary_whole"], ["rotary_positions"], to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["rotary_positions", "rotary_axis"], ["rotary_column"]),
        node("Mul", ["rotary_column", "rotary_angles"], ["rotary_turns"]),
    ]
    for tensor in [tensor for tensor in graph.initializer if tensor.name in tables]:
        operator = "Cos" if tensor.name.startswith("cos") else "Sin"
        nodes.append(node(operator, ["rotary_turns"], [tensor.name]))
        graph.initializer.remove(tensor)
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())
    for index, made in enumerate(nodes):
        graph.node.insert(index, made)


def export_transformers_js(folder, out, _is_tiny):
    """optimum's export: position ids, caches that concatenate; in half precision in the older, merged form."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as scratch:
        main_export(str(folder), scratch, task="text-generation-with-past", do_validation=False)
        graph = onnx.load(Path(scratch) / "model.onnx")
    share_tied_head(graph.graph)
    half = convert_float_to_float16(graph, keep_io_types=False)
    save_graph(graph, out / "model.onnx")
    save_graph(half, out / MERGED_FILE)
    onnx.save_model(merged(onnx.load(out / MERGED_FILE)), out / MERGED_FILE)


def share_tied_head(graph):
    """optimum writes a tied head as a second, transposed copy of the embedding; here it is transposed at loading."""
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    embedding = next(name for name in arrays if name.endswith("embed_tokens.weight"))
    for tensor in list(graph.initializer):
        array = arrays[tensor.name]
        if array.ndim == 2 and np.array_equal(array, arrays[embedding].T):
            graph.initializer.remove(tensor)
            graph.node.insert(0, onnx.helper.make_node("Transpose", [embedding], [tensor.name], perm=[1, 0]))


def merged(model):
    """The older form of the layout: one graph whose `use_cache_branch` says whether there is a past."""
    helper, graph = onnx.helper, model.graph
    branches = {}
    for branch in ("then", "else"):
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
        made = {name for node in nodes for name in node.output}
        for node in nodes:
            node.input[:] = [f"{branch[0]}{name}" if name in made else name for name in node.input]
            node.output[:] = [f"{branch[0]}{name}" for name in node.output]
        outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in graph.output]
        for value in outputs:
            value.name = f"{branch[0]}{value.name}"
        branches[f"{branch}_branch"] = helper.make_graph(nodes, branch, [], outputs)
    choose = helper.make_node("If", ["use_cache_branch"], [value.name for value in graph.output], **branches)
    flag = helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    whole = helper.make_graph([choose], "merged", [*graph.input, flag], list(graph.output), list(graph.initializer))
    return helper.make_model(whole, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def save_graph(graph, path):
    """In one file, without what the exporters say of their own machine; larger than protobuf can hold, beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del graph.graph.value_info[:]
    del graph.metadata_props[:]
    is_large = graph.ByteSize() > 400_000_000
    if not is_large:
        shorten_names(graph.graph)
    location = f"{path.name}_data" if is_large else None
    if is_large:
        (path.parent / location).unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(graph, path, save_as_external_data=is_large, location=location)


def shorten_names(graph):
    """Exporters name each value by its path in the program: more than half of a tiny graph. Inputs and outputs stay."""
    kept = {value.name for value in [*graph.input, *graph.output]}
    short = {"": ""}
    values = [node_value for node in graph.node for node_value in [*node.input, *node.output]]
    for name in [*(tensor.name for tensor in graph.initializer), *values]:
        short.setdefault(name, name if name in kept else f"v{len(short)}")
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    for node in graph.node:
        node.name = ""
        node.input[:] = [short[name] for name in node.input]
        node.output[:] = [short[name] for name in node.output]


def write_golden(model, out, prompts=GOLDEN_PROMPTS):
    """transformers' logits after a prompt and after each of a few given entries."""
    generator = np.random.default_rng(7)
    cases = []
    for prompt in range(prompts):
        ids = generator.integers(0, model.config.vocab_size, 5 + 9 * prompt + GOLDEN_STEPS).tolist()
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        rows = logits[-GOLDEN_STEPS - 1 :].numpy()
        rounded = [[round(float(value), 4) for value in row] for row in rows]
        cases.append({"prompt_ids": ids[:-GOLDEN_STEPS], "decoded_ids": ids[-GOLDEN_STEPS:], "logits": rounded})
    (out / LOGITS_FILE).write_text(json.dumps(cases, separators=(",", ":")) + "\n", encoding="utf-8")


def write_golden_prompt(out):
    """A conversation and the ids that transformers' tokenizer makes of it through the template."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    user = "Two dogs – asleep on a warm, blue boat 🌅\n\nat 7 pm"
    messages = [{"role": "user", "content": user}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    write_json(out / PROMPT_FILE, {"messages": messages, "text": text, "ids": ids})


def write_without_graph(preset, out):
    """In several files of weights, with an index."""
    model = random_model(preset, 1, 2)
    model.save_pretrained(out, max_shard_size="10KB")
    (out / "generation_config.json").unlink(missing_ok=True)
    write_golden(model, out)
    return model


def write(preset, out):
    """The whole folder."""
    out.mkdir(parents=True, exist_ok=True)
    if preset.layout == "weights":
        return write_without_graph(preset, out)
    model = random_model(preset, *write_text_side(preset, out))
    generation = (out / "generation_config.json").read_text()
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch)
        write_weights(model, weights)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (weights / name).write_bytes((out / name).read_bytes())
        for name in ("config.json", "model.safetensors"):
            (out / name).write_bytes((weights / name).read_bytes())
        export = export_genai if preset.layout == "genai" else export_transformers_js
        export(weights, out / "onnx", preset.golden)
    (out / "generation_config.json").write_text(generation)
    if preset.golden:
        write_golden(model, out)
        write_golden_prompt(out)
    return model


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--golden", action="store_true", help="transformers' logits also for a large model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = write(PRESETS[arguments.preset], arguments.out)
    if arguments.golden:
        write_golden(model, arguments.out, GOLDEN_PROMPTS_LARGE)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {model.num_parameters():,} parameters, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
