# SPDX-License-Identifier: Apache-2.0
"""Compiling and running segments with a fake Torch-TensorRT that exports them with torch.export."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from support.fake_torch_tensorrt import FakeTorchTensorRt, use_fake_torch_tensorrt
from support.manifests import manifest
from support.tiny_staged_model import observation, prefix, staged_model
from support.torch_tensorrt_files import PROFILE, files

from groot_ros.core.program import ProgramSpec, Range, Segment, TensorSpec
from groot_ros.families.gr00t_n1d6.program import SEGMENTS, StagedModel
from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.engines import EngineFiles
from groot_ros.runtime.engines.torch_tensorrt import make_engine, weights_dtype
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner
from groot_ros.runtime.torch_tensorrt.options import CompileOptions
from groot_ros.runtime.torch_tensorrt.quantising import kept_layers, record_inputs
from groot_ros.runtime.torch_tensorrt.segment_module import (
    dynamic_shapes,
    example_inputs,
    require_inside,
    with_named_inputs,
)

CPU = torch.device("cpu")


@pytest.fixture
def package() -> Iterator[FakeTorchTensorRt]:
    module = FakeTorchTensorRt("use_fp32_acc", "decompose_attention")
    with use_fake_torch_tensorrt(module):
        yield module


@pytest.mark.slow
def test_compiled_segments_compute_what_the_modules_compute(
    package: FakeTorchTensorRt, tmp_path: Path
) -> None:
    program = staged_model()
    torch_engine = ProgramEngine("torch", staged_model(), SegmentRunner(staged_model()))
    built = make_engine(program, files(tmp_path), FakeGraphRecorder())
    runs = [
        (observation(0), 4),
        ({**observation(1), **prefix(1)}, 4),
        (observation(2, words=6), 2),
        (observation(3, sides=(84, 56)), 2),
    ]
    for given, steps in runs:
        expected = torch_engine.run(given, steps).outputs["next_actions"]
        result = built.run(given, steps).outputs["next_actions"]
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert built.name == "torch_tensorrt"
    assert [module.compilations for module in package.modules] == [1] * len(SEGMENTS)
    with pytest.raises(ValueError, match=r"'text_tokens' from 1 to 32.*has 41.*longer instruction"):
        built.run(observation(4, words=40), 2)


@pytest.mark.slow
def test_only_the_requested_segments_are_compiled_and_their_settings_are_passed(
    package: FakeTorchTensorRt, tmp_path: Path
) -> None:
    options = {"segments": ("context",), "fp32_accumulation": True, "workspace_bytes": 2**30}
    built = make_engine(staged_model(), files(tmp_path, **options), FakeGraphRecorder())
    (module,) = package.modules
    assert module.given == {
        "device": CPU,
        "strict": False,
        "use_fp32_acc": True,
        "disable_tf32": True,
        "optimization_level": 3,
        "workspace_size": 2**30,
        "timing_cache_path": str(tmp_path / "torch_tensorrt_timing.cache"),
        "offload_module_to_cpu": True,
        "decompose_attention": True,
    }
    assert not torch.is_inference(built.program.modules["denoise"].positions)
    built.close()
    with pytest.raises(RuntimeError, match="closed"):
        built.run(observation(0), 2)


def test_a_segment_that_is_not_converted_is_an_error(
    package: FakeTorchTensorRt, tmp_path: Path
) -> None:
    package.converts = False
    with pytest.raises(TensorRtError, match=r"'context': Torch-TensorRT left all of it to PyTorch"):
        make_engine(staged_model(), files(tmp_path, segments=("context",)), FakeGraphRecorder())
    package.rejection = "no converter\n for aten.foo"
    with pytest.raises(TensorRtError, match=r"'context': .* compile it: no converter for aten.foo"):
        make_engine(staged_model(), files(tmp_path, segments=("context",)), FakeGraphRecorder())


def settings_of(version: FakeTorchTensorRt, attention: str = "math", **options: Any) -> Any:
    with use_fake_torch_tensorrt(version):
        from groot_ros.runtime.torch_tensorrt.compiling import compiler_settings

        given = CompileOptions(SEGMENTS, **options)
        return compiler_settings(given, torch.float16, attention, Path("cache"))


def test_weak_typing_is_an_option_of_the_versions_that_have_it() -> None:
    old = FakeTorchTensorRt("use_explicit_typing", version="2.9.0")
    explicit = settings_of(old)
    assert explicit["use_explicit_typing"] is True
    assert "enabled_precisions" not in explicit
    weak = settings_of(old, explicit_typing=False, quantise="int8", quantised=("denoise",))
    assert weak["use_explicit_typing"] is False
    assert weak["enabled_precisions"] == {torch.float32, torch.float16, torch.int8}
    with pytest.raises(TensorRtError, match=r"2.13.0 has explicit typing only: .* without --no-ex"):
        settings_of(FakeTorchTensorRt("decompose_attention"), explicit_typing=False)


def test_fused_attention_is_an_option_of_the_versions_that_have_it() -> None:
    new = FakeTorchTensorRt("decompose_attention")
    assert settings_of(new, "fused")["decompose_attention"] is False
    assert settings_of(new, "math")["decompose_attention"] is True
    with pytest.raises(TensorRtError, match=r"2.9.0 has no fused attention: .*--attention math"):
        settings_of(FakeTorchTensorRt("use_explicit_typing", version="2.9.0"), "fused")


def test_weights_are_float32_without_explicit_typing(tmp_path: Path) -> None:
    made = manifest(tmp_path, torch_tensorrt=CompileOptions(SEGMENTS))
    assert weights_dtype(EngineFiles(tmp_path, made)) == torch.float16
    made = manifest(tmp_path, torch_tensorrt=CompileOptions(SEGMENTS, explicit_typing=False))
    assert weights_dtype(EngineFiles(tmp_path, made)) == torch.float32


def test_ranges_are_given_for_the_axes_that_change() -> None:
    spec: ProgramSpec = staged_model().spec
    patches, positions = dynamic_shapes(spec.segment("vision"), spec, PROFILE)
    assert {axis: (dim.min, dim.max) for axis, dim in patches.items()} == {0: (1, 2), 1: (16, 36)}
    assert {axis: (dim.min, dim.max) for axis, dim in positions.items()} == {0: (16, 36)}
    features, text, image, state = dynamic_shapes(spec.segment("context"), spec, PROFILE)
    assert (features[1].max, text[0].min, image[0].max, state) == (64, 1, 17, {})
    with pytest.raises(TensorRtError, match="segment 'context': the profile has no sizes of 'tok"):
        dynamic_shapes(spec.segment("context"), spec, {})


def test_examples_have_the_usual_sizes_but_no_changing_axis_of_size_one() -> None:
    spec = staged_model().spec
    shapes = {
        t.name: tuple(e.shape)
        for t, e in zip(
            spec.segment("context").inputs,
            example_inputs(spec.segment("context"), PROFILE, torch.float16, CPU),
            strict=True,
        )
    }
    assert shapes["text_index"] == (6,)
    assert shapes["state"] == (1, 1, 8)
    rare = {**PROFILE, "text_tokens": Range(1, 1, 32)}
    features, text, *_ = example_inputs(spec.segment("context"), rare, torch.float16, CPU)
    assert text.tolist() == [0, 1]
    assert features.dtype == torch.float16
    mask = Segment("x", "x", (TensorSpec("m", (2, "states"), "bool"),), ())
    (given,) = example_inputs(mask, PROFILE, torch.float32, CPU)
    assert given.tolist() == [[True], [True]]


def test_sizes_outside_the_profile_are_rejected_before_they_are_compiled_again() -> None:
    spec: ProgramSpec = staged_model().spec
    language = spec.segment("language")
    inputs = example_inputs(language, PROFILE, torch.float32, CPU)
    require_inside(language, spec, PROFILE, inputs)
    narrow = {**PROFILE, "tokens": Range(1, 4, 13)}
    with pytest.raises(ValueError, match=r"segment 'language': compiled for 'tokens' from 1 to 13"):
        require_inside(language, spec, narrow, inputs)


def test_inputs_have_names_in_order() -> None:
    import inspect

    class Add(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return tensors[0] + 2 * tensors[1]

    module = with_named_inputs(Add(), 2)
    assert list(inspect.signature(module.forward).parameters) == ["input_0", "input_1"]
    assert module(torch.ones(1), torch.ones(1)).item() == 3.0


def test_calibration_sees_the_inputs_of_every_run_and_keeps_exempt_layers() -> None:
    program: StagedModel = staged_model()
    calls = record_inputs(program, ["denoise"], [observation(0), observation(1)], 3)
    assert list(calls) == ["denoise"]
    assert len(calls["denoise"]) == 6
    assert not any(tensor.is_inference() for call in calls["denoise"] for tensor in call)
    kept = kept_layers(program.modules["denoise"])
    assert kept == ["encode", "encode2", "decode", "decode2"]
