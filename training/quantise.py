"""Quantises a model's fp32 graph for serving on CPU: `onnx/model_q4.onnx` or `onnx/model_int8.onnx` beside it.

`python -m training.quantise --model FOLDER --precision int4 [--block 128] [--vocabulary-bits 8]`

The graph is onnxruntime-genai's (fp32). Every weight that a MatMul multiplies with becomes MatMulNBits with int8
activations, symmetric, in blocks; the embedding is gathered quantised. Embedding and head have 8 bits always, unless
told otherwise: they tell entries apart. docs/decisions/0036 has what was tried.

What was written is compared with what it should compute: the fp32 graph with the same weights rounded the same way.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

FILES = {"int4": "model_q4.onnx", "int8": "model_int8.onnx"}
BITS = {"int4": 4, "int8": 8}
# Activations as int8: what llama.cpp does too. Others compute in fp32 and are slower in decoding.
ACCURACY_INT8, ACCURACY_FP32 = 4, 1
CHECK_PROMPTS, CHECK_LENGTH = 3, 24
# Of the largest logit; both sides compute in fp32.
DIFFERENCE_MAX = 1e-4
EXTERNAL_FROM_BYTES = 400_000_000


@dataclass(frozen=True)
class Width:
    """How finely weights are rounded."""

    bits: int
    vocabulary_bits: int
    block: int

    def bits_of(self, shape, entries):
        """Of a matrix; embedding and head are as long as the vocabulary."""
        return self.vocabulary_bits if entries in shape else self.bits


@dataclass(frozen=True)
class Rounded:
    """A matrix of N rows of K in whole numbers, block by block: value = (number - middle) * scale."""

    numbers: np.ndarray  # [N, blocks, block], uint8
    scales: np.ndarray  # [N, blocks]
    bits: int
    width: int

    @property
    def middle(self):
        return 1 << (self.bits - 1)

    def values(self):
        """What the numbers stand for, [N, K]."""
        whole = (self.numbers.astype(np.float32) - self.middle) * self.scales[:, :, None]
        return whole.reshape(len(whole), -1)[:, : self.width]

    def packed(self):
        """As MatMulNBits reads them, [N, blocks, bytes]: of two in a byte the first is the low one."""
        if self.bits == 8:
            return self.numbers
        return self.numbers[..., 0::2] | (self.numbers[..., 1::2] << 4)

    def packed_rows(self):
        """As GatherBlockQuantized reads them, [N, bytes]: without what pads the last block."""
        return self.packed().reshape(len(self.numbers), -1)[:, : self.width * self.bits // 8]


def rounded(matrix, bits, block):
    """Rounds [N, K] to the nearest. The value of largest magnitude in a block gets the number that has no opposite."""
    rows, width = matrix.shape
    blocks = -(-width // block)
    padded = np.zeros((rows, blocks * block), np.float32)
    padded[:, :width] = matrix
    padded = padded.reshape(rows, blocks, block)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(padded, np.abs(padded).argmax(-1)[..., None], -1)[..., 0]
    scales = (largest / -middle).astype(np.float32)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    numbers = np.clip(np.rint(padded * inverse[..., None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
    return Rounded(numbers, scales, bits, width)


def fold_transposes(graph):
    """A tied head is written as the embedding, transposed at loading; here it is a matrix of its own."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in arrays]:
        turned = np.ascontiguousarray(numpy_helper.to_array(arrays[node.input[0]]).T)
        graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        graph.node.remove(node)


def quantised(model, width, accuracy):
    """Rewrites the graph. Returns the rounded matrices by the name of what they stand for."""
    graph = model.graph
    fold_transposes(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    entries = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    matrices, done = {}, {}

    def matrix(name, turned):
        if (name, turned) not in done:
            values = numpy_helper.to_array(tensors[name]).astype(np.float32)
            bits = width.bits_of(values.shape, entries)
            done[name, turned] = matrices[name] = rounded(values.T if turned else values, bits, width.block)
        return done[name, turned]

    for position, node in enumerate(list(graph.node)):
        is_weight = len(node.input) > 1 and node.input[1] in tensors and len(tensors[node.input[1]].dims) == 2
        if node.op_type == "MatMul" and is_weight:
            made = matmul_n_bits(graph, node, matrix(node.input[1], True), width.block, accuracy)
        elif node.op_type == "Gather" and node.input[0] in tensors and len(tensors[node.input[0]].dims) == 2:
            made = gather_quantised(graph, node, matrix(node.input[0], False), width.block)
        else:
            continue
        graph.node.remove(node)
        graph.node.insert(position, made)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return matrices


def add(graph, name, array):
    """An initializer, unless it is there."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def matmul_n_bits(graph, node, weight, block, accuracy):
    """The node in place of a MatMul."""
    name = node.input[1]
    inputs = [node.input[0], add(graph, f"{name}_blocks", weight.packed()), add(graph, f"{name}_scales", weight.scales.reshape(-1))]
    sizes = dict(K=weight.width, N=len(weight.numbers), bits=weight.bits, block_size=block, accuracy_level=accuracy)
    return helper.make_node("MatMulNBits", inputs, list(node.output), name=node.name, domain="com.microsoft", **sizes)


def gather_quantised(graph, node, weight, block):
    """The node in place of the embedding's Gather."""
    name = node.input[0]
    inputs = [add(graph, f"{name}_rows", weight.packed_rows()), node.input[1], add(graph, f"{name}_row_scales", weight.scales)]
    sizes = dict(bits=weight.bits, block_size=block, gather_axis=0, quantize_axis=1)
    return helper.make_node(
        "GatherBlockQuantized", inputs, list(node.output), name=node.name, domain="com.microsoft", **sizes
    )


def with_rounded_weights(model, matrices):
    """The fp32 graph, its weights rounded: what a quantised graph must compute."""
    fold_transposes(model.graph)
    gathered = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in matrices]:
        values = matrices[tensor.name].values()
        turned = values if tensor.name in gathered else values.T
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), tensor.name))


def save(model, path):
    """In one file, or with the weights beside it when it is large."""
    is_large = model.ByteSize() > EXTERNAL_FROM_BYTES
    location = f"{path.name}_data" if is_large else None
    path.with_name(f"{path.name}_data").unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(model, path, save_as_external_data=is_large, location=location)


def logits(path, ids, head_dim):
    """Of one prompt without a past, [S, V]."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            size = value.shape[3] if isinstance(value.shape[3], int) else head_dim
            feeds[value.name] = np.zeros((1, value.shape[1], 0, size), np.float32)
    return session.run(["logits"], feeds)[0][0]


def difference(source, width):
    """Largest difference from the rounded fp32 graph in shares of the largest logit, activations in fp32."""
    with tempfile.TemporaryDirectory() as scratch:
        ours, reference = Path(scratch) / "ours.onnx", Path(scratch) / "reference.onnx"
        model = onnx.load(source)
        entries = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        matrices = quantised(model, width, ACCURACY_FP32)
        save(model, ours)
        model = onnx.load(source)
        with_rounded_weights(model, matrices)
        save(model, reference)
        del model, matrices
        generator, worst = np.random.default_rng(5), 0.0
        for _ in range(CHECK_PROMPTS):
            ids = generator.integers(0, entries, (1, CHECK_LENGTH), dtype=np.int64)
            expected = logits(reference, ids, None)
            worst = max(worst, float(np.abs(logits(ours, ids, None) - expected).max() / np.abs(expected).max()))
    return worst


def write(folder, precision, block=128, vocabulary_bits=8, is_checked=True):
    """Writes the quantised graph beside the fp32 one."""
    source, bits = folder / "onnx" / "model.onnx", BITS[precision]
    width = Width(bits, max(bits, vocabulary_bits), block)
    out = source.with_name(FILES[precision])
    model = onnx.load(source)
    quantised(model, width, ACCURACY_INT8)
    save(model, out)
    print(f"{out}: {model.ByteSize() / 1e6:.1f} MB")
    if is_checked:
        worst = difference(source, width)
        print(f"largest difference from the graph with rounded weights: {worst:.2e} of the largest logit")
        if worst > DIFFERENCE_MAX:
            raise SystemExit("the quantised graph does not compute what it should")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder with onnx/model.onnx")
    parser.add_argument("--precision", choices=FILES, required=True)
    parser.add_argument("--block", type=int, choices=[32, 64, 128], default=128)
    parser.add_argument("--vocabulary-bits", type=int, choices=[4, 8], default=8, help="of embedding and head")
    parser.add_argument("--unchecked", action="store_true", help="without the comparison")
    arguments = parser.parse_args()
    checked = not arguments.unchecked
    write(arguments.model, arguments.precision, arguments.block, arguments.vocabulary_bits, checked)


if __name__ == "__main__":
    main()
