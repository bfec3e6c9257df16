# SPDX-License-Identifier: Apache-2.0
"""Write a segment as an ONNX file with the names of its specification."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from groot_ros.core.program import FreeDim, ProgramSpec, Segment, TensorSpec
from groot_ros.layers.attention import Attention
from groot_ros.runtime import ATTENTION
from groot_ros.runtime.device import DTYPES

#: LayerNormalization needs 17; the parser of TensorRT 10.3 reads up to 20.
OPSET = 18
#: Larger weights are stored in NAME.onnx.data (the limit of ONNX itself is 2 GB).
_EMBEDDED_BYTES = 256 * 2**20


class _Positional(nn.Module):
    """Passes inputs by position, so that the argument names of the module do not matter."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(*tensors)


def export_segment(
    module: nn.Module,
    program: ProgramSpec,
    name: str,
    path: Path,
    *,
    precision: str = "float32",
    attention: str = "math",
) -> None:
    """Write an ONNX file whose free dimensions are those of the program.

    Args:
        module: takes and returns the tensors of the segment; its weights are in `precision`.
        program: program that contains the segment.
        name: name of the segment.
        path: file to write; large weights are written to PATH.data.
        precision: element type of the tensors of kind "weights" in the specification.
        attention: "math" writes products and a softmax, which TensorRT before 10.8 requires;
            "fused" leaves the choice to the exporter.

    """
    segment = program.segment(name)
    free = _free_dimensions(segment, program.free_dims)
    example = tuple(_example(t, precision, program.free_dims, module) for t in segment.inputs)
    shapes = tuple(
        {axis: free[d] for axis, d in enumerate(tensor.dims) if isinstance(d, str)}
        for tensor in segment.inputs
    )
    with attention_form(module, attention), _silence(), torch.no_grad():
        exported = torch.onnx.export(
            _Positional(module).eval(),
            example,
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=[tensor.name for tensor in segment.inputs],
            output_names=[tensor.name for tensor in segment.outputs],
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    for stale in (path, path.with_name(f"{path.name}.data")):
        stale.unlink(missing_ok=True)
    weights = sum(p.nbytes for p in module.parameters())
    exported.save(str(path), external_data=weights > _EMBEDDED_BYTES)
    _name_dimensions(path, segment)


@contextlib.contextmanager
def attention_form(module: nn.Module, form: str) -> Iterator[None]:
    """Use a form of `ATTENTION` in all attention layers of a module, within the context."""
    if form not in ATTENTION:
        raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, not '{form}'")
    layers = [layer for layer in module.modules() if isinstance(layer, Attention)]
    before = [layer.math for layer in layers]
    for layer in layers:
        layer.math = form == "math"
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.math = was


def _free_dimensions(segment: Segment, free_dims: Mapping[str, FreeDim]) -> Mapping[str, Any]:
    """Return the symbolic dimensions of a segment's inputs."""
    names = {d for tensor in segment.inputs for d in tensor.dims if isinstance(d, str)}
    free: dict[str, Any] = {}
    for name in names:
        dim = free_dims[name]
        bounds = {"min": 1} | ({"max": dim.maximum} if dim.maximum else {})
        base = Dim(dim.multiple_of or name, **bounds)
        free[name] = dim.factor * base if dim.multiple_of else base
    return free


def _example(
    tensor: TensorSpec, precision: str, free_dims: Mapping[str, FreeDim], module: nn.Module
) -> Tensor:
    shape = [d if isinstance(d, int) else free_dims[d].example for d in tensor.dims]
    dtype = DTYPES[precision if tensor.kind == "weights" else tensor.kind]
    device = next(module.parameters()).device
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype, device=device)
    if dtype == torch.int64:
        return torch.arange(prod(shape), device=device).reshape(shape)
    return torch.rand(shape, device=device).to(dtype)


def _name_dimensions(path: Path, segment: Segment) -> None:
    """Name the free dimensions as the program does, and drop the tracer's internal names."""
    model = onnx.load(str(path), load_external_data=False)
    pairs: Sequence[tuple[onnx.ValueInfoProto, TensorSpec]] = [
        *zip(_in_order(model.graph.input, segment.inputs), segment.inputs, strict=True),
        *zip(_in_order(model.graph.output, segment.outputs), segment.outputs, strict=True),
    ]
    for value, tensor in pairs:
        for dim, expected in zip(value.type.tensor_type.shape.dim, tensor.dims, strict=True):
            if isinstance(expected, str):
                dim.dim_param = expected
            else:
                dim.dim_value = expected
    del model.graph.value_info[:]
    give_every_norm_a_bias(model)
    model.doc_string = f"groot_ros segment '{segment.name}'"
    onnx.save(model, str(path))


def _in_order(
    values: Sequence[onnx.ValueInfoProto], tensors: Sequence[TensorSpec]
) -> list[onnx.ValueInfoProto]:
    by_name = {value.name: value for value in values}
    return [by_name[tensor.name] for tensor in tensors]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the exporter's reports of its passes and of optional packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


_BYTES: dict[int, int] = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2}


def give_every_norm_a_bias(model: onnx.ModelProto) -> None:
    """Add a bias of zeros to every LayerNormalization without one, in place.

    The bias is optional in ONNX. TensorRT's parser replaces a missing bias by a single zero, but
    its layer requires a bias with the shape of the scale.

    Raises:
        ValueError: the scale of such a layer is not an initializer, so its shape is not known.

    """
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "LayerNormalization" or (len(node.input) == 3 and node.input[2]):
            continue
        scale = known.get(node.input[1])
        if scale is None:
            raise ValueError(
                f"LayerNormalization '{node.name}' has no bias, and a scale that is computed"
            )
        name = f"{scale.name}_no_bias"
        if name not in known:
            known[name] = _zeros(name, scale)
            model.graph.initializer.append(known[name])
        node.input[:] = [node.input[0], node.input[1], name]


def _zeros(name: str, like: TensorProto) -> TensorProto:
    nothing = bytes(prod(like.dims) * _BYTES[like.data_type])
    return helper.make_tensor(name, like.data_type, like.dims, nothing, raw=True)
