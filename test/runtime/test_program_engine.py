# SPDX-License-Identifier: Apache-2.0
"""Engines around a program: prompt stages, repeated segments, steps, and several results."""

from typing import Any

import numpy as np
import pytest
from support.fake_graph_recorder import FakeGraphRecorder
from support.toy_program import SPEC, ToyProgram, toy_inputs, toy_outputs
from torch import Tensor

from groot_ros.core.program import ModelInputs
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import Executor, ProgramEngine, SegmentRunner


def engine_of(program: ToyProgram, recorder: FakeGraphRecorder | None = None) -> ProgramEngine:
    inner = SegmentRunner(program)
    runner = inner if recorder is None else GraphRunner(inner, recorder)
    return ProgramEngine("toy", program, runner)


def require_right(engine: ProgramEngine, inputs: ModelInputs, steps: int) -> None:
    given, expected = engine.run(inputs, steps).outputs, toy_outputs(inputs, steps)
    assert given.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(given[name], expected[name], rtol=1e-6)


@pytest.fixture(params=["segments", "graphs"])
def recorder(request: pytest.FixtureRequest) -> FakeGraphRecorder | None:
    return FakeGraphRecorder() if request.param == "graphs" else None


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (2, 4), (3, 2)])
def test_every_kind_of_segment_runs_as_often_as_it_must(images: int, steps: int) -> None:
    program = ToyProgram()
    require_right(engine_of(program), toy_inputs(images=images), steps)
    assert program.runs == {"prompt": 1, "vision": images, "mix": 1, "denoise": steps}


def test_several_results_and_any_number_of_repetitions_are_right(
    recorder: FakeGraphRecorder | None,
) -> None:
    engine = engine_of(ToyProgram(), recorder)
    for seed, (images, steps) in enumerate([(2, 4), (2, 4), (3, 4), (2, 1), (2, 4)]):
        require_right(engine, toy_inputs(seed, images=images), steps)
    assert engine.graph_failures == {}


def test_a_prompt_stage_runs_once_per_prompt(recorder: FakeGraphRecorder | None) -> None:
    program = ToyProgram()
    engine = engine_of(program, recorder)
    require_right(engine, toy_inputs(0, prompt=1.0), 2)
    after_first = program.runs["prompt"]
    for seed in range(1, 4):
        require_right(engine, toy_inputs(seed, prompt=1.0), 2)
    assert program.runs["prompt"] == after_first
    require_right(engine, toy_inputs(4, prompt=2.0), 2)
    assert program.runs["prompt"] > after_first


def test_cached_prompts_outlive_the_buffers_that_their_results_came_in(
    recorder: FakeGraphRecorder | None,
) -> None:
    """The module, and a graph, overwrite their outputs with those of the next prompt."""
    program = ToyProgram()
    engine = engine_of(program, recorder)
    for prompt in (1.0, 2.0):
        require_right(engine, toy_inputs(prompt=prompt), 1)
    runs = program.runs["prompt"]
    for prompt in (1.0, 2.0, 1.0):
        require_right(engine, toy_inputs(prompt=prompt), 1)
    assert program.runs["prompt"] == runs


def test_the_prompt_that_was_not_used_for_longest_is_forgotten_first() -> None:
    program = ToyProgram()
    engine = engine_of(program)

    def runs_of(prompt: int) -> int:
        before = program.runs["prompt"]
        require_right(engine, toy_inputs(prompt=float(prompt)), 1)
        return program.runs["prompt"] - before

    kept = 8
    assert [runs_of(prompt) for prompt in range(kept)] == [1] * kept
    assert runs_of(0) == 0
    assert runs_of(kept) == 1
    assert runs_of(0) == 0, "used lately"
    assert runs_of(1) == 1, "forgotten"


def test_results_of_a_run_are_copies() -> None:
    engine = engine_of(ToyProgram())
    first = engine.run(toy_inputs(0), 2).outputs
    engine.run(toy_inputs(1), 2)
    for name, expected in toy_outputs(toy_inputs(0), 2).items():
        np.testing.assert_allclose(first[name], expected, rtol=1e-6)


def test_every_stage_is_timed() -> None:
    seconds = engine_of(ToyProgram()).run(toy_inputs(), 2).seconds
    assert list(seconds) == [stage.name for stage in SPEC.stages] == ["text", "backbone", "head"]
    assert all(value >= 0 for value in seconds.values())


def test_each_number_of_repetitions_has_a_graph_of_its_own_stage_only() -> None:
    recorder = FakeGraphRecorder()
    engine = engine_of(ToyProgram(), recorder)
    engine.run(toy_inputs(images=2), 4)
    assert len(recorder.recordings) == 3
    engine.run(toy_inputs(images=2), 2)
    assert len(recorder.recordings) == 4, "of the head, the backbone has no steps"
    engine.run(toy_inputs(images=3), 2)
    assert len(recorder.recordings) == 5, "of the backbone, the head has no images"


def test_a_segment_without_executor_or_weights_is_named() -> None:
    program = ToyProgram()
    del program.modules["mix"]
    with pytest.raises(ValueError, match="segment 'mix' has neither an engine file nor weights"):
        SegmentRunner(program)
    runner = SegmentRunner(program, {"mix": lambda total, scale, offset: total * scale + offset})
    require_right(ProgramEngine("toy", program, runner), toy_inputs(), 2)


def test_an_executor_runs_in_place_of_the_module() -> None:
    program = ToyProgram()
    runner = SegmentRunner(program, {"vision": lambda pixels: -10.0 * pixels})
    inputs = toy_inputs()
    opposite = {n: -array if n.startswith("image.") else array for n, array in inputs.items()}
    given = ProgramEngine("toy", program, runner).run(inputs, 1).outputs["mixed"]
    np.testing.assert_allclose(given, toy_outputs(opposite, 1)["mixed"], rtol=1e-6)
    assert program.runs["vision"] == 0


def test_executors_are_wrapped_within_the_context_only() -> None:
    program = ToyProgram()
    engine = engine_of(program)
    seen: list[tuple[str, int]] = []

    def wrap(name: str, executor: Executor) -> Executor:
        def run(*inputs: Tensor) -> Any:
            seen.append((name, len(inputs)))
            return executor(*inputs)

        return run

    runner = engine.segment_runner
    before = dict(runner.executors)
    with runner.wrapped(wrap):
        require_right(engine, toy_inputs(images=2), 2)
    assert seen == [
        *(("prompt", 1), ("vision", 1), ("vision", 1), ("mix", 3)),
        *(("denoise", 2), ("denoise", 2)),
    ]
    assert runner.executors == before
    require_right(engine, toy_inputs(images=2), 2)
    assert len(seen) == 6


def test_executors_are_restored_after_a_failure() -> None:
    runner = engine_of(ToyProgram()).segment_runner
    before = dict(runner.executors)
    with pytest.raises(RuntimeError, match="within"), runner.wrapped(lambda name, executor: print):
        raise RuntimeError("within")
    assert runner.executors == before


def test_an_engine_with_graphs_does_not_run_segment_by_segment_but_has_one_that_does() -> None:
    engine = engine_of(ToyProgram(), FakeGraphRecorder())
    with pytest.raises(ValueError, match="engine 'toy' does not run segment by segment"):
        _ = engine.segment_runner
    assert set(engine.without_graphs().segment_runner.executors) == set(SPEC.names)


def test_memory_counts_the_program_and_the_files_until_the_engine_is_closed() -> None:
    program, released = ToyProgram(), []
    runner = SegmentRunner(program, file_bytes=1000, release=lambda: released.append(True))
    engine = ProgramEngine("toy", program, runner)
    assert engine.memory_bytes == program.nbytes + 1000
    for _ in range(2):
        engine.close()
    assert (engine.memory_bytes, released) == (0, [True])
    with pytest.raises(RuntimeError, match="the engine is closed"):
        engine.run(toy_inputs(), 1)


def test_a_replay_that_differs_in_one_of_several_results_is_not_used() -> None:
    engine = engine_of(ToyProgram(), FakeGraphRecorder(wrong=0.1))
    require_right(engine, toy_inputs(), 2)
    assert set(engine.graph_failures) == {"text", "backbone", "head"}
    require_right(engine, toy_inputs(1), 2)
