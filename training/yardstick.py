"""Makes what `cargo xtask bench engine` compares: one set of random weights in every form.

`python -m training.yardstick --llama LLAMA_CPP --out FOLDER`

In FOLDER: `model` (SmolLM2-135M's shape with safetensors, the fp32 graph and our quantised graphs), `builder-int4` and
`builder-int8` (as onnxruntime-genai's builder makes them), `q4_0.gguf` and `q8_0.gguf`.
"""

import argparse
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from . import quantise, random_model

PRESET = "smollm2-135m"
# llama.cpp knows tokenizers by a digest and has not seen ours; any of its names for a byte-level one will do.
PRE_TOKENIZER = "smollm"


def run(*command):
    """Runs a program to its end; what it says is shown only when it fails."""
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{ran.stdout}\n{ran.stderr}")


def build(model, precision, out):
    """The builder's own graph, with its own settings."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", model, "-o", out]
        run(*command, "-p", precision, "-e", "cpu", "-c", cache)


def convert(llama, model, out):
    """The weights as llama.cpp's converter writes them, in this process: two of its look-ups are answered here."""
    sys.path[:0] = [str(llama), str(llama / "gguf-py")]
    import conversion.base
    import conversion.llama

    conversion.base.TextModel.get_vocab_base_pre = lambda _self, _tokenizer: PRE_TOKENIZER
    conversion.llama.LlamaModel.set_vocab = lambda self: self._set_vocab_gpt2()
    script = llama / "convert_hf_to_gguf.py"
    sys.argv = [str(script), str(model), "--outfile", str(out), "--outtype", "f32"]
    runpy.run_path(str(script), run_name="__main__")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", type=Path, required=True, help="llama.cpp: its converter and `bin`")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, out = arguments.out / "model", arguments.out
    random_model.write(random_model.PRESETS[PRESET], model, keeps_weights=True)
    for precision in quantise.FILES:
        quantise.write(model, precision)
        build(model, precision, out / f"builder-{precision}")
    whole = out / "f32.gguf"
    convert(arguments.llama, model, whole)
    for kind in ("q4_0", "q8_0"):
        run(arguments.llama / "bin" / "llama-quantize", whole, out / f"{kind}.gguf", kind)
    whole.unlink()


if __name__ == "__main__":
    main()
