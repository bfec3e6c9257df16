# SPDX-License-Identifier: Apache-2.0
"""Building, loading and running engines with a fake TensorRT that works on real addresses."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from support.fake_tensorrt import (
    STREAM,
    BuilderFlag,
    FakeTensorRt,
    MemoryPoolType,
    use_fake_tensorrt,
    write_onnx,
)
from support.tiny_staged_model import observation, prefix, staged_model

from groot_ros.core.program import TensorSpec
from groot_ros.families.gr00t_n1d6.program import SEGMENTS, StagedModel
from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.engines.tensorrt import make_engine, segment_runner
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner

CPU = torch.device("cpu")
SIZES = {
    "views": (1, 2, 3),
    "patches": (4, 16, 64),
    "tokens": (1, 20, 64),
    "text_tokens": (1, 8, 32),
    "image_tokens": (1, 8, 32),
    "all_tokens": (1, 20, 64),
    "states": (1, 1, 1),
}


@pytest.fixture
def program() -> StagedModel:
    return staged_model()


@pytest.fixture
def tensorrt(program: StagedModel) -> Iterator[FakeTensorRt]:
    module = FakeTensorRt(program)
    with use_fake_tensorrt(module):
        yield module


def build(folder: Path, name: str, program: StagedModel, **options: Any) -> Path:
    from groot_ros.runtime.tensorrt.build import build_plan

    segment = program.spec.segment(name)
    onnx = write_onnx(folder / f"{name}.onnx", segment, torch.float32)
    plan = folder / "engines" / f"{name}.plan"
    build_plan(onnx, plan, segment, torch.float32, SIZES, device=CPU, **options)
    return plan


@pytest.fixture
def plans(tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path) -> dict[str, Path]:
    return {name: build(tmp_path, name, program) for name in SEGMENTS}


@pytest.mark.parametrize("segments", [SEGMENTS, ("context", "denoise"), ("denoise",)])
def test_engines_compute_what_the_modules_compute(
    segments: tuple[str, ...],
    plans: dict[str, Path],
    program: StagedModel,
    tensorrt: FakeTensorRt,
) -> None:
    torch_engine = ProgramEngine("torch", program, SegmentRunner(program))
    built = make_engine({name: plans[name] for name in segments}, program, FakeGraphRecorder())
    runs = [
        (observation(0), 4),
        ({**observation(1), **prefix(1)}, 4),
        (observation(2, words=6), 2),
        ({**observation(3, sides=(84, 56, 84)), **prefix(2)}, 4),
        (observation(0), 4),
        (observation(5), 4),
    ]
    for given, steps in runs:
        expected = torch_engine.run(given, steps).outputs["next_actions"]
        result = built.run(given, steps).outputs["next_actions"]
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert set(tensorrt.contexts) == set(segments)
    assert (built.name, built.graph_failures) == ("tensorrt", {})


def test_addresses_are_set_once_and_shapes_only_when_they_change(
    plans: dict[str, Path], program: StagedModel, tensorrt: FakeTensorRt
) -> None:
    built = make_engine(plans, program, FakeGraphRecorder(fault=RuntimeError("no graphs")))
    built.run(observation(), 4)
    denoise = tensorrt.contexts["denoise"]
    specs = program.spec.segment("denoise")
    names = {spec.name for spec in (*specs.inputs, *specs.outputs)}
    assert sorted(denoise.address_calls) == sorted(names)
    before = {name: len(context.shape_calls) for name, context in tensorrt.contexts.items()}
    built.run(observation(1), 4)
    after = {name: len(context.shape_calls) for name, context in tensorrt.contexts.items()}
    assert before == after
    built.run(observation(1, words=6), 4)
    calls = tensorrt.contexts["language"].shape_calls[after["language"] :]
    assert calls == ["embeddings", "cos", "sin"]
    assert denoise.shape_calls[after["denoise"] :] == ["keys_text", "values_text"]
    assert sorted(denoise.address_calls) == sorted(names)


def test_an_engine_reads_what_another_wrote_without_a_copy(
    plans: dict[str, Path], program: StagedModel, tensorrt: FakeTensorRt
) -> None:
    make_engine(plans, program, FakeGraphRecorder())
    found = {name: context.addresses for name, context in tensorrt.contexts.items()}
    for name in ("keys_text", "values_text", "keys_image", "values_image", "state_tokens"):
        assert found["context"][name] == found["denoise"][name]
    assert found["language"]["features"] == found["context"]["features"]
    assert found["denoise"]["actions"] != found["denoise"]["next_actions"]


def test_engines_run_on_the_current_stream(
    plans: dict[str, Path], program: StagedModel, tensorrt: FakeTensorRt
) -> None:
    make_engine(plans, program, FakeGraphRecorder()).run(observation(), 4)
    streams = {stream for context in tensorrt.contexts.values() for stream in context.streams}
    assert streams == {STREAM}


def test_memory_counts_engines_buffers_and_the_modules_that_stay(
    plans: dict[str, Path], program: StagedModel
) -> None:
    built = make_engine(plans, program, FakeGraphRecorder())
    files = sum(plan.stat().st_size for plan in plans.values())
    assert built.memory_bytes > files + 4 * 1000
    built.close()
    assert built.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        built.run(observation(), 4)


def test_an_observation_beyond_the_profile_is_rejected_by_name(
    plans: dict[str, Path], program: StagedModel
) -> None:
    built = make_engine(plans, program, FakeGraphRecorder())
    with pytest.raises(
        ValueError, match=r"built for 'embeddings' from \[1, 1, 16\] to \[1, 64, 16"
    ):
        built.run(observation(words=70), 4)
    given = observation(1)
    assert np.isfinite(built.run(given, 4).outputs["next_actions"]).all(), "the next one runs"


def test_shapes_that_are_rejected_change_nothing(
    plans: dict[str, Path], program: StagedModel
) -> None:
    session = load(plans["context"], program, "context")
    shapes = {
        "features": (1, 9, 16),
        "text_index": (4,),
        "image_index": (5,),
        "state": (1, 1, 8),
    }
    assert session.set_shapes(shapes)["keys_text"] == (1, 2, 4, 8)
    with pytest.raises(ValueError, match="built for 'image_index'"):
        session.set_shapes({**shapes, "text_index": (3,), "image_index": (99,)})
    assert session.set_shapes({**shapes, "text_index": (3,)})["keys_text"] == (1, 2, 3, 8)


def test_a_segment_needs_a_file_or_weights(
    plans: dict[str, Path], program: StagedModel, tensorrt: FakeTensorRt
) -> None:
    modules = {name: m for name, m in program.modules.items() if name != "language"}
    bare = StagedModel(
        program.config, program.device, program.dtype, program.prompts, program.tables, modules
    )
    del plans["language"]
    with pytest.raises(ValueError, match="'language' has neither an engine file nor weights"):
        segment_runner(plans, bare)


def load(
    plan: Path, program: StagedModel, name: str = "vision", weights: Any = torch.float32
) -> Any:
    from groot_ros.runtime.tensorrt.session import Session

    return Session(plan, program.spec.segment(name), weights)


def test_a_damaged_file_is_named(plans: dict[str, Path], program: StagedModel) -> None:
    plans["vision"].write_bytes(b"no engine")
    with pytest.raises(
        TensorRtError, match=r"vision.plan: TensorRT 10.3.0 does not load it: Serial"
    ):
        load(plans["vision"], program)


def test_an_engine_of_another_precision_is_rejected(
    plans: dict[str, Path], program: StagedModel
) -> None:
    with pytest.raises(
        TensorRtError, match=r"'patches' is torch.float32 in the engine but torch.bfloat16"
    ):
        load(plans["vision"], program, weights=torch.bfloat16)


def test_an_engine_of_another_segment_is_rejected(
    plans: dict[str, Path], program: StagedModel
) -> None:
    with pytest.raises(
        TensorRtError, match=r"its tensors are cos, embeddings.*segment 'vision' has"
    ):
        load(plans["language"], program)


def test_a_type_without_a_buffer_is_rejected(plans: dict[str, Path], program: StagedModel) -> None:
    content = json.loads(plans["vision"].read_text())
    content["inputs"]["patches"] = "float8"
    plans["vision"].write_text(json.dumps(content))
    with pytest.raises(TensorRtError, match="torch has no buffer for TensorRT's type"):
        load(plans["vision"], program)


def test_two_engines_must_agree_on_a_buffer(tensorrt: FakeTensorRt) -> None:
    from groot_ros.runtime.tensorrt.session import Buffers

    buffers = Buffers(CPU)
    buffers.reserve("features", (1, 4, 8), torch.float32)
    buffers.reserve("features", (1, 2, 8), torch.float32)
    assert buffers.nbytes == 4 * 32
    assert buffers.tensor("features", (1, 3, 8)).data_ptr() == buffers.address("features")
    with pytest.raises(ValueError, match=r"'features' as torch.float32, another"):
        buffers.reserve("features", (1, 4, 8), torch.bfloat16)


def test_a_build_is_strongly_typed_and_returns_its_machine(
    tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path
) -> None:
    from groot_ros.runtime.tensorrt.build import BuildOptions, build_plan

    segment = program.spec.segment("language")
    onnx = write_onnx(tmp_path / "language.onnx", segment, torch.bfloat16)
    reported: list[tuple[str, float]] = []
    machine = build_plan(
        onnx,
        tmp_path / "language.plan",
        segment,
        torch.bfloat16,
        SIZES,
        device=CPU,
        options=BuildOptions(workspace_bytes=2**30, optimisation_level=4),
        progress=lambda phase, fraction: reported.append((phase, fraction)),
    )
    assert tensorrt.flags == [2]
    (config,) = tensorrt.configs
    assert config.builder_optimization_level == 4
    assert config.cleared == [BuilderFlag.TF32]
    assert config.pools == {MemoryPoolType.WORKSPACE: 2**30}
    (profile,) = config.profiles
    assert profile.shapes["embeddings"] == ((1, 1, 16), (1, 20, 16), (1, 64, 16))
    assert profile.shapes["cos"] == ((1, 8), (20, 8), (64, 8))
    assert reported == [
        ("Building Engine", 0.0),
        ("Building Engine", 0.5),
        ("Building Engine", 1.0),
    ]
    assert (machine.tensorrt, machine.gpu, machine.sm_count) == ("10.3.0", "Orin", 16)
    assert machine.compute_capability == "8.7"
    assert not list(tmp_path.glob("*.partial"))


def test_the_timing_cache_is_kept_and_one_of_another_machine_is_not_used(
    tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from groot_ros.runtime.tensorrt.build import BuildOptions

    cache = tmp_path / "timing.cache"
    for _ in range(2):
        build(tmp_path, "vision", program, options=BuildOptions(timing_cache=cache))
    assert cache.read_bytes() == b" timed timed"
    cache.write_bytes(b"other machine")
    build(tmp_path, "vision", program, options=BuildOptions(timing_cache=cache))
    assert cache.read_bytes() == b" timed"
    assert "timing.cache: written by another TensorRT or GPU, timed again" in caplog.text


def test_ctrl_c_ends_a_build(tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path) -> None:
    def interrupt(phase: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, "vision", program, progress=interrupt)
    assert not (tmp_path / "engines" / "vision.plan").exists()


def test_a_build_that_fails_names_the_reason_and_the_likely_fix(
    tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path
) -> None:
    tensorrt.rejection = "Could not find any implementation for node {ForeignNode[...]}"
    with pytest.raises(TensorRtError, match=r"Could not find any implementation.*stop other prog"):
        build(tmp_path, "vision", program)
    tensorrt.rejection = "Unsupported"
    with pytest.raises(TensorRtError, match=r"TensorRT built no engine: Unsupported$"):
        build(tmp_path, "vision", program)


def test_little_free_memory_is_a_warning_before_the_build(
    tensorrt: FakeTensorRt,
    program: StagedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        build(tmp_path, "vision", program)
    assert caplog.text == ""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 16 * 2**30))
    build(tmp_path, "vision", program)
    assert "0.0 GiB are free on cpu and the build may take" in caplog.text


def test_a_file_that_is_not_onnx_is_named(
    tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path
) -> None:
    from groot_ros.runtime.tensorrt.build import build_plan

    onnx = tmp_path / "broken.onnx"
    onnx.write_text("?")
    segment = program.spec.segment("vision")
    with pytest.raises(TensorRtError, match=r"broken.onnx: TensorRT cannot read it: no protobuf"):
        build_plan(onnx, tmp_path / "x.plan", segment, torch.float32, SIZES, device=CPU)


def test_an_onnx_file_of_another_contract_is_rejected(
    tensorrt: FakeTensorRt, program: StagedModel, tmp_path: Path
) -> None:
    from groot_ros.runtime.tensorrt.build import build_plan

    vision, language = map(program.spec.segment, ("vision", "language"))
    onnx = write_onnx(tmp_path / "a.onnx", language, torch.float32)
    plan = tmp_path / "x.plan"
    with pytest.raises(ValueError, match=r"inputs are cos float32.*'vision' has patches float32"):
        build_plan(onnx, plan, vision, torch.float32, SIZES, device=CPU)
    with pytest.raises(ValueError, match=r"embeddings float32.*has.*embeddings bfloat16"):
        build_plan(onnx, plan, language, torch.bfloat16, SIZES, device=CPU)


EMBEDDINGS, COSINES = TensorSpec("embeddings", (1, "tokens", 16)), TensorSpec("cos", ("tokens", 8))


def test_shapes_come_from_the_sizes_of_the_free_dimensions(tensorrt: FakeTensorRt) -> None:
    from groot_ros.runtime.tensorrt.api import shapes_of

    assert shapes_of(EMBEDDINGS, SIZES) == ((1, 1, 16), (1, 20, 16), (1, 64, 16))


def test_a_dimension_without_sizes_is_named(tensorrt: FakeTensorRt) -> None:
    from groot_ros.runtime.tensorrt.api import shapes_of

    with pytest.raises(ValueError, match="no 'tokens', a free dimension of 'cos'"):
        shapes_of(COSINES, {})


@pytest.mark.parametrize("sizes", [(2, 1, 3), (1, 5, 4), (0, 1, 2)])
def test_sizes_must_rise_from_one(tensorrt: FakeTensorRt, sizes: tuple[int, int, int]) -> None:
    from groot_ros.runtime.tensorrt.api import shapes_of

    with pytest.raises(ValueError, match=r"'tokens' is .* must rise from 1"):
        shapes_of(COSINES, {"tokens": sizes})
