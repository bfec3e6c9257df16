"""One stage as an ONNX file with the names of the contract."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from groot_ros.export.parser_form import give_every_norm_a_bias
from groot_ros.runtime.contract import StageSpec, TensorSpec
from groot_ros.runtime.gr00t_n1d6.attend import Attend
from groot_ros.runtime.precision import DTYPES

#: LayerNormalization came with 17; the parser of TensorRT 10.3 reads up to 20.
OPSET = 18
ATTENTION = ("by_hand", "fused")
#: Files with more weights than this keep them beside, in NAME.onnx.data (ONNX's own limit: 2 GB).
_EMBEDDED_BYTES = 256 * 2**20


class _Positional(nn.Module):
    """Inputs as one tuple, whatever the arguments of the stage are called."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.stage(*tensors)


def export_stage(
    stage: nn.Module,
    spec: StageSpec,
    path: Path,
    *,
    square: int,
    precision: str = "float32",
    attention: str = "by_hand",
) -> None:
    """Write an ONNX file whose free dimensions are those of the spec.

    Args:
        stage: takes and returns the tensors of the spec; its weights are in `precision`.
        spec: of this stage.
        path: of the file; large weights go to PATH.data.
        square: patches that become one image token.
        precision: that "weights" stands for in the spec.
        attention: "by_hand" spells it out in products and a softmax, as TensorRT before 10.8
            needs it; "fused" leaves the choice to the exporter.

    """
    free = _free_dimensions(spec, square)
    example = tuple(_example(tensor, precision, square, stage) for tensor in spec.inputs)
    shapes = tuple(
        {axis: free[d] for axis, d in enumerate(tensor.dims) if isinstance(d, str)}
        for tensor in spec.inputs
    )
    with attention_form(stage, attention), _silence(), torch.no_grad():
        program = torch.onnx.export(
            _Positional(stage).eval(),
            example,
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    for stale in (path, path.with_name(f"{path.name}.data")):
        stale.unlink(missing_ok=True)
    weights = sum(p.nbytes for p in stage.parameters())
    program.save(str(path), external_data=weights > _EMBEDDED_BYTES)
    _name_dimensions(path, spec)


@contextlib.contextmanager
def attention_form(stage: nn.Module, form: str) -> Iterator[None]:
    """All attention of a stage in one of the forms of `ATTENTION`, for a while."""
    if form not in ATTENTION:
        raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, not '{form}'")
    layers = [module for module in stage.modules() if isinstance(module, Attend)]
    before = [layer.by_hand for layer in layers]
    for layer in layers:
        layer.by_hand = form == "by_hand"
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.by_hand = was


def example_sizes(square: int) -> dict[str, int]:
    """Different sizes above one for every free dimension: the tracer takes 1 for a constant."""
    cells, text, image = 3, 5, 6
    return {
        "views": 2,
        "cells": cells,
        "patches": square * cells,
        "tokens": text + image,
        "text_tokens": text,
        "image_tokens": image,
        "all_tokens": text + image,
        "states": 2,
    }


def _free_dimensions(spec: StageSpec, square: int) -> Mapping[str, Dim]:
    names = {d for tensor in spec.inputs for d in tensor.dims if isinstance(d, str)}
    free = {name: Dim(name, min=1) for name in names}
    if "patches" in free:
        free["patches"] = square * Dim("cells", min=1)
    return free


def _example(tensor: TensorSpec, precision: str, square: int, stage: nn.Module) -> Tensor:
    sizes = example_sizes(square)
    shape = [d if isinstance(d, int) else sizes[d] for d in tensor.dims]
    dtype = DTYPES[precision if tensor.kind == "weights" else tensor.kind]
    device = next(stage.parameters()).device
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype, device=device)
    if dtype == torch.int64:
        return torch.arange(shape[0], device=device)
    return torch.rand(shape, device=device).to(dtype)


def _name_dimensions(path: Path, spec: StageSpec) -> None:
    """Free dimensions by the contract's names; what the tracer called them inside is forgotten."""
    model = onnx.load(str(path), load_external_data=False)
    pairs: Sequence[tuple[onnx.ValueInfoProto, TensorSpec]] = [
        *zip(_in_order(model.graph.input, spec.inputs), spec.inputs, strict=True),
        *zip(_in_order(model.graph.output, spec.outputs), spec.outputs, strict=True),
    ]
    for value, tensor in pairs:
        for dim, wanted in zip(value.type.tensor_type.shape.dim, tensor.dims, strict=True):
            if isinstance(wanted, str):
                dim.dim_param = wanted
            else:
                dim.dim_value = wanted
    del model.graph.value_info[:]
    give_every_norm_a_bias(model)
    model.doc_string = f"groot_ros stage '{spec.name}'"
    onnx.save(model, str(path))


def _in_order(
    values: Sequence[onnx.ValueInfoProto], tensors: Sequence[TensorSpec]
) -> list[onnx.ValueInfoProto]:
    by_name = {value.name: value for value in values}
    return [by_name[tensor.name] for tensor in tensors]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter tells of its passes and of packages that it does without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
