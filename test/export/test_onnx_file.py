# SPDX-License-Identifier: Apache-2.0
"""Exported segments, executed by onnxruntime at sizes that they were not traced with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from support.tiny_checkpoint import TAG, tiny_config

from groot_ros.core.program import ProgramSpec
from groot_ros.export.onnx_file import attention_form, export_segment
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import (
    SEGMENTS,
    StagedModel,
    load_staged,
    make_staged,
    program_spec,
)
from groot_ros.layers.attention import Attention
from groot_ros.runtime.device import DTYPES
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.engines.onnxruntime import OnnxruntimeSegment

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
#: Sizes of one view, one cell and the like: what tracers take for constants.
LEAST = {"views": 1, "cells": 1, "patches": 4, "tokens": 3, "states": 1}
LEAST |= {"text_tokens": 2, "image_tokens": 1, "all_tokens": 3}
MORE = {"views": 3, "cells": 7, "patches": 28, "tokens": 31, "states": 2}
MORE |= {"text_tokens": 10, "image_tokens": 21, "all_tokens": 31}


def large_model(config: Gr00tN1d6Config, dtype: torch.dtype = torch.float32) -> StagedModel:
    """Return a staged model with weights large enough for every part to matter."""
    model = build_model(replace(config, max_num_embodiments=1), seed=3)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0) if p.ndim > 1 else p.add_(0.1 * torch.randn_like(p))
    return make_staged(model.to(dtype).eval().requires_grad_(False))


def drawn(
    program: ProgramSpec, name: str, sizes: dict[str, int], dtype: torch.dtype
) -> list[torch.Tensor]:
    """Return inputs of a segment at these sizes."""
    generator = torch.Generator().manual_seed(sum(sizes.values()))
    tensors = []
    for tensor in program.segment(name).inputs:
        shape = [d if isinstance(d, int) else sizes[d] for d in tensor.dims]
        if tensor.kind == "int64":
            tensors.append(torch.arange(sizes["tokens"])[-shape[0] :])
        elif tensor.kind == "bool":
            block = torch.arange(shape[0]) // 2
            tensors.append(block[:, None] == block[None])
        else:
            kind = dtype if tensor.kind == "weights" else torch.float32
            tensors.append(torch.randn(shape, generator=generator).to(kind))
    return tensors


def as_list(outputs: object) -> list[torch.Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)  # type: ignore[call-overload]


def windowed() -> Gr00tN1d6Config:
    """Return a config with rotary angles and windows, and one group of tokens in the head."""
    dit = replace(tiny_config().dit, num_layers=2)
    config = tiny_config(use_alternate_vl_dit=False, dit=dit)
    vision = replace(
        config.eagle.vision,
        use_rope=True,
        use_windows_attn=True,
        window_size=2,
        full_attention_indexes=(1,),
    )
    return replace(config, eagle=replace(config.eagle, vision=vision))


def require_same_numbers(program: StagedModel, name: str, path: Path) -> None:
    """Compare file and module at the least sizes and at larger ones."""
    segment = OnnxruntimeSegment(program.spec, name, path, "float32", CPU, 1)
    for sizes in (LEAST, MORE):
        inputs = drawn(program.spec, name, sizes, torch.float32)
        with torch.no_grad():
            expected = as_list(program.modules[name](*inputs))
        for given, reference in zip(as_list(segment(*inputs)), expected, strict=True):
            assert given.shape == reference.shape
            torch.testing.assert_close(given, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_file_gives_the_module_s_numbers_at_any_size(
    checkpoint: Path, engine_directory: Path, name: str
) -> None:
    opened = open_checkpoint(checkpoint, TAG)
    row = opened.processor.embodiment_id
    program = load_staged(checkpoint, opened.config, embodiment=row, segments=[name])
    require_same_numbers(program, name, engine_directory / f"{name}.onnx")


@pytest.mark.parametrize(
    ("config", "attention", "name"),
    [
        (windowed(), "fused", "vision"),
        (windowed(), "math", "vision"),
        (windowed(), "math", "denoise"),
    ],
)
def test_so_does_every_form_of_attention_and_of_checkpoint(
    config: Gr00tN1d6Config, attention: str, name: str, tmp_path: Path
) -> None:
    program, path = large_model(config), tmp_path / f"{name}.onnx"
    export_segment(program.modules[name], program.spec, name, path, attention=attention)
    require_same_numbers(program, name, path)


def test_names_and_free_dimensions_are_those_of_the_program(engine_directory: Path) -> None:
    for segment in program_spec(tiny_config()).segments:
        model = onnx.load(engine_directory / f"{segment.name}.onnx")
        for values, tensors in (
            (model.graph.input, segment.inputs),
            (model.graph.output, segment.outputs),
        ):
            found = {
                v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim)
                for v in values
            }
            assert found == {tensor.name: tensor.dims for tensor in tensors}


def test_both_forms_of_attention_agree_and_the_form_is_reset_afterwards() -> None:
    program = large_model(tiny_config())
    language = program.modules["language"]
    inputs = drawn(program.spec, "language", MORE, torch.float32)
    results = []
    for form in ("math", "fused"):
        with attention_form(language, form), torch.no_grad():
            results.append(language(*inputs))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    layers = [m for m in language.modules() if isinstance(m, Attention)]
    assert layers
    assert not any(layer.math for layer in layers)
    with pytest.raises(ValueError, match="attention must be one of math, fused, not 'flash'"):
        attention_form(language, "flash").__enter__()


def test_float16_is_executed(tmp_path: Path) -> None:
    program = large_model(tiny_config(), torch.float16)
    denoise, path = program.modules["denoise"], tmp_path / "denoise.onnx"
    export_segment(denoise, program.spec, "denoise", path, precision="float16")
    segment = OnnxruntimeSegment(program.spec, "denoise", path, "float16", CPU, 1)
    inputs = drawn(program.spec, "denoise", MORE, torch.float16)
    with torch.no_grad():
        expected = denoise(*inputs)
    torch.testing.assert_close(segment(*inputs), expected, rtol=1e-2, atol=1e-2)


def test_bfloat16_is_rejected_by_onnxruntime_on_a_cpu_and_right_in_the_reference(
    tmp_path: Path,
) -> None:
    program = large_model(tiny_config(), torch.bfloat16)
    context, path = program.modules["context"], tmp_path / "context.onnx"
    export_segment(context, program.spec, "context", path, precision="bfloat16")
    with pytest.raises(EngineFilesError, match="onnxruntime cannot run it"):
        OnnxruntimeSegment(program.spec, "context", path, "bfloat16", CPU, 1)
    inputs = drawn(program.spec, "context", MORE, DTYPES["bfloat16"])
    with torch.no_grad():
        expected = context(*inputs)
    bfloat16 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    feeds = {
        s.name: t.numpy() if t.dtype == torch.int64 else t.float().numpy().astype(bfloat16)
        for s, t in zip(program.spec.segment("context").inputs, inputs, strict=True)
    }
    outputs = ReferenceEvaluator(str(path)).run(None, feeds)
    for given, reference in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(
            np.asarray(given, dtype=np.float32), reference.float().numpy(), atol=0.06
        )


def rejected_file(config: Gr00tN1d6Config, name: str, path: Path, precision: str) -> str:
    with pytest.raises(EngineFilesError) as caught:
        OnnxruntimeSegment(program_spec(config), name, path, precision, CPU, 1)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("export it again")
    return text


def test_the_file_of_another_segment_precision_or_checkpoint_is_rejected_by_what_differs(
    engine_directory: Path,
) -> None:
    config, denoise = tiny_config(), engine_directory / "denoise.onnx"
    assert "it has 'actions', unlike segment 'context'" in rejected_file(
        config, "context", denoise, "float32"
    )
    assert "is tensor(float) [" in (text := rejected_file(config, "denoise", denoise, "float16"))
    assert "in segment 'denoise' it is tensor(float16) [" in text
    longer = replace(config, action_horizon=config.action_horizon + 1)
    text = rejected_file(longer, "denoise", denoise, "float32")
    was, now = config.action_horizon, longer.action_horizon
    assert f"'actions' is tensor(float) [1, {was}, " in text
    assert f"it is tensor(float) [1, {now}, " in text


def test_a_file_without_an_output_is_rejected(engine_directory: Path, tmp_path: Path) -> None:
    model = onnx.load(engine_directory / "context.onnx")
    lacking = model.graph.output.pop().name
    path = tmp_path / "context.onnx"
    onnx.save(model, path)
    text = rejected_file(tiny_config(), "context", path, "float32")
    assert f"it lacks '{lacking}', unlike segment 'context'" in text


def test_a_failure_in_onnxruntime_names_the_file(engine_directory: Path) -> None:
    program, path = program_spec(tiny_config()), engine_directory / "vision.onnx"
    segment = OnnxruntimeSegment(program, "vision", path, "float32", CPU, 1)
    odd = drawn(program, "vision", {**MORE, "patches": 7, "cells": 1}, torch.float32)
    with pytest.raises(RuntimeError) as caught:
        segment(*odd)
    assert str(caught.value).startswith(f"{path}: onnxruntime: ")
    assert "\n" not in str(caught.value)
