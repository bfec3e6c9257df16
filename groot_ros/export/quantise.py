# SPDX-License-Identifier: Apache-2.0
"""Quantise the products of an ONNX file to INT8 or FP8 by inserting Q/DQ pairs.

TensorRT (strongly typed) and onnxruntime read the same file. Weights are stored in 8 bits.
Activations are quantised per tensor, weights per output channel for INT8 and per tensor for FP8.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from groot_ros.export.ranges import Product
from groot_ros.runtime import QUANTISED

#: Opset with FP8 in QuantizeLinear; the other operators in the files are the same in 18.
OPSET = 19
_LARGEST = {"int8": 127.0, "fp8": 448.0}
_EMBEDDED_BYTES = 256 * 2**20


class QuantiseError(ValueError):
    """An ONNX file is not the export of the segment that was calibrated."""


def quantise(source: Path, target: Path, products: Sequence[Product], kind: str) -> int:
    """Write a copy of an ONNX file with its products in 8 bits; return their number.

    Args:
        source: exported segment.
        target: file to write; large weights are written to TARGET.data.
        products: the segment's products, in the order in which they run; those whose `largest` is
            0 keep their precision.
        kind: one of `runtime.QUANTISED`.

    Raises:
        QuantiseError: the file's products or weights differ from `products`.
        ValueError: `kind` is unknown.

    """
    if kind not in QUANTISED:
        raise ValueError(f"kind must be one of {', '.join(QUANTISED)}, not '{kind}'")
    model = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found = list(_products(graph, weights))
    if len(found) != len(products):
        raise QuantiseError(
            f"{source}: has {len(found)} products with weights, the segment {len(products)}: "
            "export it again with this version"
        )
    new = _Insertions(weights, kind)
    for (node, weight, transposed), product in zip(found, products, strict=True):
        if product.largest:
            _require_same(source, weights[weight], product, transposed)
            new.activation(node, product.largest, weights[weight].data_type)
            new.weight(node, weight, transposed)
    new.apply(graph)
    model.opset_import[0].version = max(OPSET, model.opset_import[0].version)
    if _size(model) < _EMBEDDED_BYTES:
        onnx.checker.check_model(model)
    for stale in (target, target.with_name(f"{target.name}.data")):
        stale.unlink(missing_ok=True)
    onnx.save(
        model,
        str(target),
        save_as_external_data=_size(model) > _EMBEDDED_BYTES,
        location=f"{target.name}.data",
    )
    return sum(bool(product.largest) for product in products)


def _products(
    graph: onnx.GraphProto, weights: dict[str, TensorProto]
) -> Iterator[tuple[NodeProto, str, bool]]:
    """Yield (node, name of its weight, whether the weight is [out, in]) of every product.

    Products are yielded in the order in which they run.
    """
    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        name = node.input[1]
        flags = {a.name: a.i for a in node.attribute}
        transposed = bool(flags.get("transB", 0))
        maker = made_by.get(name)
        if maker is not None and maker.op_type == "Transpose":
            name, transposed = maker.input[0], not transposed
        if name in weights and len(weights[name].dims) == 2:
            yield node, name, transposed


def _require_same(source: Path, tensor: TensorProto, product: Product, transposed: bool) -> None:
    array = numpy_helper.to_array(tensor)
    mine = array if transposed else array.T
    expected = product.weight.numpy().astype(array.dtype)
    if mine.shape != expected.shape or not np.array_equal(mine, expected):
        raise QuantiseError(
            f"{source}: the weight '{tensor.name}' is not that of '{product.name}' in the "
            "checkpoint: export it again"
        )


class _Insertions:
    """Nodes and tensors to insert into a graph: one pair per activation, one copy per weight."""

    def __init__(self, weights: dict[str, TensorProto], kind: str) -> None:
        self._weights, self._kind = weights, kind
        self._type = TensorProto.INT8 if kind == "int8" else TensorProto.FLOAT8E4M3FN
        self._tensors: list[TensorProto] = []
        self._replaced: set[str] = set()
        self._ranges: dict[str, float] = {}
        self._users: dict[str, list[NodeProto]] = {}
        self._dequantised: list[NodeProto] = []
        self._element: dict[str, int] = {}

    def activation(self, node: NodeProto, largest: float, element: int) -> None:
        """Quantise the first input of a product; products with the same input share one Q/DQ pair.

        Args:
            node: the product.
            largest: limit of the input; for a shared input the largest of all products is used.
            element: ONNX element type of the input.

        """
        name = node.input[0]
        self._ranges[name] = max(self._ranges.get(name, 0.0), largest)
        self._users.setdefault(name, []).append(node)
        self._element[name] = element

    def weight(self, node: NodeProto, name: str, transposed: bool) -> None:
        """Replace the weight of a product by an 8-bit copy and a node that dequantises it.

        Args:
            node: the product.
            name: name of the weight; a weight that several products share is replaced once.
            transposed: whether the weight is [out, in] instead of [in, out].

        """
        if name in self._replaced:
            return
        self._replaced.add(name)
        tensor = self._weights[name]
        array = numpy_helper.to_array(tensor).astype(np.float32)
        axis = 0 if transposed else 1
        per_channel = self._kind == "int8"
        sizes = np.abs(array).max(axis=1 - axis) if per_channel else np.abs(array).max()
        scale = np.maximum(sizes, 1e-12).astype(np.float32) / _LARGEST[self._kind]
        spread = np.expand_dims(scale, 1 - axis) if per_channel else scale
        stored = f"{name}.{self._kind}"
        self._tensors += [
            _tensor(stored, _stored(array / spread, self._kind), self._type),
            _floats(f"{stored}.scale", scale, tensor.data_type),
            _zeros(f"{stored}.zero", scale.shape, self._type),
        ]
        attributes: dict[str, Any] = {"axis": axis} if per_channel else {}
        self._dequantised.append(
            helper.make_node(
                "DequantizeLinear",
                [stored, f"{stored}.scale", f"{stored}.zero"],
                [name],
                name=f"{stored}.dequantise",
                **attributes,
            )
        )

    def apply(self, graph: onnx.GraphProto) -> None:
        """Insert the nodes and tensors into the graph, in place and in topological order."""
        pairs: dict[str, list[NodeProto]] = {}
        for name, users in self._users.items():
            pairs[name] = self._pair(name)
            for user in users:
                user.input[0] = f"{name}.{self._kind}.back"
        kept = [t for t in graph.initializer if t.name not in self._replaced]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self._tensors])
        made = {value.name for value in graph.input}
        ordered = list(self._dequantised)
        for name in [n for n in pairs if n in made]:
            ordered += pairs.pop(name)
        for node in list(graph.node):
            ordered.append(node)
            for output in node.output:
                ordered += pairs.pop(output, [])
        del graph.node[:]
        graph.node.extend(ordered)

    def _pair(self, name: str) -> list[NodeProto]:
        down = f"{name}.{self._kind}"
        scale = np.float32(self._ranges[name] / _LARGEST[self._kind])
        self._tensors += [
            _floats(f"{down}.scale", np.asarray(scale), self._element[name]),
            _zeros(f"{down}.zero", (), self._type),
        ]
        rest = [f"{down}.scale", f"{down}.zero"]
        return [
            helper.make_node("QuantizeLinear", [name, *rest], [down], name=f"{down}.quantise"),
            helper.make_node(
                "DequantizeLinear", [down, *rest], [f"{down}.back"], name=f"{down}.dequantise"
            ),
        ]


def _stored(scaled: NDArray[np.float32], kind: str) -> NDArray:
    if kind == "int8":
        return np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return np.clip(scaled, -448.0, 448.0).astype(ml_dtypes.float8_e4m3fn)


def _tensor(name: str, array: NDArray, element: int) -> TensorProto:
    return helper.make_tensor(name, element, array.shape, array.tobytes(), raw=True)


def _floats(name: str, values: NDArray, element: int) -> TensorProto:
    return _tensor(name, values.astype(helper.tensor_dtype_to_np_dtype(element)), element)


def _zeros(name: str, shape: tuple[int, ...], element: int) -> TensorProto:
    return helper.make_tensor(name, element, shape, bytes(int(np.prod(shape))), raw=True)


def _size(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)
