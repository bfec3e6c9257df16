"""The exported stages, executed by onnxruntime at sizes they were not traced with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from support.tiny_checkpoint import TAG, tiny_config

from groot_ros.export.onnx_file import attention_form, export_stage
from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, build_model
from groot_ros.runtime.checkpoint_parts import open_checkpoint
from groot_ros.runtime.contract import StageSpec, stage_specs
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.gr00t_n1d6 import Attend, StagedModel, load_fast, make_fast
from groot_ros.runtime.names import STAGES
from groot_ros.runtime.onnxruntime_stages import OnnxruntimeStage
from groot_ros.runtime.precision import DTYPES

pytestmark = pytest.mark.slow

SQUARE = 4
#: Sizes of one view, one cell and the like: what tracers take for constants.
LEAST = {"views": 1, "cells": 1, "patches": 4, "tokens": 3, "states": 1}
LEAST |= {"text_tokens": 2, "image_tokens": 1, "all_tokens": 3}
MORE = {"views": 3, "cells": 7, "patches": 28, "tokens": 31, "states": 2}
MORE |= {"text_tokens": 10, "image_tokens": 21, "all_tokens": 31}


def fast_model(config: Gr00tN1d6Config, dtype: torch.dtype = torch.float32) -> StagedModel:
    """Weights large enough for every part to matter."""
    model = build_model(replace(config, max_num_embodiments=1), seed=3)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0) if p.ndim > 1 else p.add_(0.1 * torch.randn_like(p))
    return make_fast(model.to(dtype).eval().requires_grad_(False))


def drawn(spec: StageSpec, sizes: dict[str, int], dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(sizes.values()))
    tensors = []
    for tensor in spec.inputs:
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
    """Rotary angles and windows in the vision tower, one group of tokens in the head."""
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


def require_same_numbers(fast: StagedModel, name: str, path: Path) -> None:
    """At the least sizes and at larger ones."""
    spec = stage_specs(fast.host.config)[name]
    stage = OnnxruntimeStage(spec, path, "float32", SQUARE, torch.device("cpu"), 1)
    for sizes in (LEAST, MORE):
        inputs = drawn(spec, sizes, torch.float32)
        with torch.no_grad():
            expected = as_list(fast.modules[name](*inputs))
        for given, wanted in zip(as_list(stage(*inputs)), expected, strict=True):
            assert given.shape == wanted.shape
            torch.testing.assert_close(given, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gives_the_module_s_numbers_at_any_size(
    checkpoint: Path, engine_directory: Path, name: str
) -> None:
    parts = open_checkpoint(checkpoint, TAG)
    row = parts.processor.embodiment_id
    fast = load_fast(checkpoint, parts.config, embodiment=row, stages=[name])
    require_same_numbers(fast, name, engine_directory / f"{name}.onnx")


@pytest.mark.parametrize(
    ("config", "attention", "name"),
    [
        (windowed(), "fused", "vision"),
        (windowed(), "by_hand", "vision"),
        (windowed(), "by_hand", "denoise"),
    ],
)
def test_so_does_every_form_of_attention_and_of_checkpoint(
    config: Gr00tN1d6Config, attention: str, name: str, tmp_path: Path
) -> None:
    fast, path = fast_model(config), tmp_path / f"{name}.onnx"
    spec = stage_specs(config)[name]
    export_stage(fast.modules[name], spec, path, square=SQUARE, attention=attention)
    require_same_numbers(fast, name, path)


def test_names_and_free_dimensions_are_the_contract_s(engine_directory: Path) -> None:
    for name, spec in stage_specs(tiny_config()).items():
        model = onnx.load(engine_directory / f"{name}.onnx")
        for values, tensors in (
            (model.graph.input, spec.inputs),
            (model.graph.output, spec.outputs),
        ):
            found = {
                v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim)
                for v in values
            }
            assert found == {tensor.name: tensor.dims for tensor in tensors}


def test_attention_by_hand_has_no_fused_operator_and_both_forms_agree() -> None:
    fast, spec = fast_model(tiny_config()), stage_specs(tiny_config())["language"]
    inputs = drawn(spec, MORE, torch.float32)
    results = []
    for form in ("by_hand", "fused"):
        with attention_form(fast.modules["language"], form), torch.no_grad():
            results.append(fast.modules["language"](*inputs))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    layers = [m for m in fast.modules["language"].modules() if isinstance(m, Attend)]
    assert layers
    assert not any(layer.by_hand for layer in layers)
    with pytest.raises(ValueError, match="attention must be one of by_hand, fused, not 'flash'"):
        attention_form(fast.modules["language"], "flash").__enter__()


def test_float16_is_executed(tmp_path: Path) -> None:
    config = tiny_config()
    fast, spec = fast_model(config, torch.float16), stage_specs(config)["denoise"]
    path = tmp_path / "denoise.onnx"
    export_stage(fast.modules["denoise"], spec, path, square=SQUARE, precision="float16")
    stage = OnnxruntimeStage(spec, path, "float16", SQUARE, torch.device("cpu"), 1)
    inputs = drawn(spec, MORE, torch.float16)
    with torch.no_grad():
        expected = fast.modules["denoise"](*inputs)
    torch.testing.assert_close(stage(*inputs), expected, rtol=1e-2, atol=1e-2)


def test_bfloat16_is_rejected_by_onnxruntime_on_a_cpu_and_right_in_the_reference(
    tmp_path: Path,
) -> None:
    config = tiny_config()
    fast, spec = fast_model(config, torch.bfloat16), stage_specs(config)["context"]
    path = tmp_path / "context.onnx"
    export_stage(fast.modules["context"], spec, path, square=SQUARE, precision="bfloat16")
    with pytest.raises(EngineFilesError, match="onnxruntime cannot run it"):
        OnnxruntimeStage(spec, path, "bfloat16", SQUARE, torch.device("cpu"), 1)
    inputs = drawn(spec, MORE, DTYPES["bfloat16"])
    with torch.no_grad():
        expected = fast.modules["context"](*inputs)
    bfloat16 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    feeds = {
        s.name: t.numpy() if t.dtype == torch.int64 else t.float().numpy().astype(bfloat16)
        for s, t in zip(spec.inputs, inputs, strict=True)
    }
    outputs = ReferenceEvaluator(str(path)).run(None, feeds)
    for given, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(
            np.asarray(given, dtype=np.float32), wanted.float().numpy(), atol=0.06
        )


def rejected_stage(config: Gr00tN1d6Config, name: str, path: Path, precision: str) -> str:
    with pytest.raises(EngineFilesError) as caught:
        OnnxruntimeStage(stage_specs(config)[name], path, precision, SQUARE, torch.device("cpu"), 1)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("export it anew")
    return text


def test_the_file_of_another_stage_precision_or_checkpoint_is_rejected_by_what_differs(
    engine_directory: Path,
) -> None:
    config, denoise = tiny_config(), engine_directory / "denoise.onnx"
    assert "it has 'actions', unlike stage 'context'" in rejected_stage(
        config, "context", denoise, "float32"
    )
    assert "is tensor(float) [" in (text := rejected_stage(config, "denoise", denoise, "float16"))
    assert "in stage 'denoise' it is tensor(float16) [" in text
    longer = replace(config, action_horizon=config.action_horizon + 1)
    text = rejected_stage(longer, "denoise", denoise, "float32")
    was, now = config.action_horizon, longer.action_horizon
    assert f"'actions' is tensor(float) [1, {was}, " in text
    assert f"it is tensor(float) [1, {now}, " in text


def test_a_file_without_an_output_is_rejected(engine_directory: Path, tmp_path: Path) -> None:
    model = onnx.load(engine_directory / "context.onnx")
    lacking = model.graph.output.pop().name
    path = tmp_path / "context.onnx"
    onnx.save(model, path)
    text = rejected_stage(tiny_config(), "context", path, "float32")
    assert f"it lacks '{lacking}', unlike stage 'context'" in text


def test_what_fails_in_onnxruntime_names_the_file(engine_directory: Path) -> None:
    spec, path = stage_specs(tiny_config())["vision"], engine_directory / "vision.onnx"
    stage = OnnxruntimeStage(spec, path, "float32", SQUARE, torch.device("cpu"), 1)
    odd = drawn(spec, {**MORE, "patches": 7, "cells": 1}, torch.float32)
    with pytest.raises(RuntimeError) as caught:
        stage(*odd)
    assert str(caught.value).startswith(f"{path}: onnxruntime: ")
    assert "\n" not in str(caught.value)
