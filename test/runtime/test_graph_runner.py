# SPDX-License-Identifier: Apache-2.0
"""Stages as graphs: which observations share one, and that the numbers are the same."""

import numpy as np
import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from support.tiny_checkpoint import HORIZON, tiny_config
from support.tiny_staged_model import noise, observation, prefix, staged_model

from groot_ros.core.program import Binding, ModelInputs, select_tensors
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import make_staged
from groot_ros.runtime.engines import get_engine, unavailable_reason
from groot_ros.runtime.graph_recorder import CudaGraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner


@pytest.fixture(scope="module")
def expected() -> ProgramEngine:
    """Return engine "torch", without graphs."""
    program = staged_model()
    return ProgramEngine("torch", program, SegmentRunner(program))


def graphed(recorder: FakeGraphRecorder, **options) -> ProgramEngine:
    program = staged_model()
    runner = GraphRunner(SegmentRunner(program), recorder, **options)
    return ProgramEngine("cuda_graph", program, runner)


def actions(engine: ProgramEngine, inputs: ModelInputs, steps: int = 4) -> np.ndarray:
    return engine.run(inputs, steps).outputs["next_actions"]


def require_same(
    engine: ProgramEngine, expected: ProgramEngine, inputs: ModelInputs, steps: int = 4
) -> None:
    given, reference = (actions(each, inputs, steps) for each in (engine, expected))
    np.testing.assert_allclose(given, reference, atol=1e-6)


def test_every_kind_of_observation_gives_the_same_actions(expected: ProgramEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=8)
    for inputs, steps in [
        (observation(0), 4),
        ({**observation(1), **prefix(1)}, 4),
        (observation(2, words=5), 4),
        (observation(3, sides=(56, 84)), 4),
        ({**observation(4, sides=(84, 56, 84)), **prefix(2)}, 4),
        (observation(5), 2),
        (observation(6), 4),
    ]:
        require_same(engine, expected, inputs, steps)
    # Lengths 2 x, views of two sizes 2 x; the head also by the number of steps.
    assert len(recorder.recordings) == 4 + 5


def test_another_instruction_of_the_same_length_needs_no_other_graph(
    expected: ProgramEngine,
) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    for seed in range(3):
        require_same(engine, expected, {**observation(seed), **noise()})
    assert len(recorder.recordings) == 2


def test_results_of_earlier_runs_stay_as_they_were(expected: ProgramEngine) -> None:
    """A graph overwrites its own outputs."""
    engine = graphed(FakeGraphRecorder())
    rows = [observation(seed) for seed in (7, 8, 9)]
    reference = [actions(expected, inputs) for inputs in rows]
    assert np.abs(reference[0] - reference[1]).max() > 1e-3
    given = [actions(engine, inputs) for inputs in rows]
    np.testing.assert_allclose(given, reference, atol=1e-6)


def test_a_prefix_replays_the_graph_of_plain_sampling() -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    engine.run(observation(), 4)
    frozen = actions(engine, {**observation(), **prefix(3)})
    assert len(recorder.recordings) == 2
    np.testing.assert_array_equal(frozen[:, :2], prefix(3)["prefix"][:, :2])


def test_few_graphs_are_kept_where_a_context_belongs_to_one_shape(expected: ProgramEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=1, repeats=False)
    for words in (3, 5, 3):
        require_same(engine, expected, observation(words=words))
    assert len(recorder.recordings) == 6
    assert sum(not recording.released for recording in recorder.recordings) == 2


def test_views_of_several_sizes_run_without_a_graph_where_they_cannot_be_recorded(
    expected: ProgramEngine,
) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=1, repeats=False)
    engine.run(observation(), 4)
    backbone = recorder.recordings[0]
    require_same(engine, expected, observation(sides=(56, 84)))
    assert backbone.released, "its contexts have other shapes now"
    assert len(recorder.recordings) == 3


def test_where_recording_fails_the_engine_names_the_reason(expected: ProgramEngine) -> None:
    engine = graphed(FakeGraphRecorder(fault=RuntimeError("no graphs today")))
    for seed in range(2):
        require_same(engine, expected, observation(seed))
    assert engine.graph_failures == {
        "backbone": "recording failed: no graphs today",
        "head": "recording failed: no graphs today",
    }


def test_closing_releases_the_graphs_first() -> None:
    recorder = FakeGraphRecorder()
    released: list[bool] = []
    program = staged_model()
    inner = SegmentRunner(
        program, release=lambda: released.extend(r.released for r in recorder.recordings)
    )
    runner = GraphRunner(inner, recorder)
    engine = ProgramEngine("cuda_graph", program, runner)
    engine.run(observation(), 4)
    assert runner.memory_bytes > 0
    engine.close()
    assert released == [True, True]
    assert runner.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        runner.run(program.spec.stages[0], Binding({}, {}), {})


def test_the_recorded_runner_can_run_by_itself_with_other_shapes(expected: ProgramEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    engine.run(observation(), 4)
    inputs = observation(1, words=6)
    require_same(engine.without_graphs(), expected, inputs)
    assert all(recording.released for recording in recorder.recordings)
    require_same(engine, expected, inputs)


def test_no_stage_asks_the_device_for_a_value() -> None:
    """On the meta device there are none; what it can do, a graph can record."""
    program = staged_model()
    inputs = {**observation(0, sides=(84, 56, 84)), **prefix()}
    bound = program.bind(inputs, 4)
    assert "image_order" in bound.constants
    for module in program.modules.values():
        module.to("meta")
    tensors = {
        name: tensor.to("meta") for name, tensor in {**bound.constants, **bound.observed}.items()
    }
    runner = SegmentRunner(program)
    with torch.inference_mode():
        for stage in program.spec.stages:
            read = select_tensors(tensors, stage.constants | stage.observed)
            carried = {name: tensors[name] for name in stage.carried}
            tensors |= runner.execute(stage, bound, {**read, **carried})
    length = inputs["input_ids"].shape[1]
    assert tensors["features"].shape == (1, length, 16)
    assert tensors["next_actions"].shape == (1, HORIZON, 8)
    assert tensors["next_actions"].device.type == "meta"


def test_a_recording_reads_only_the_tensors_that_its_stage_declares() -> None:
    """Others would keep their first values in every replay."""
    program = staged_model()
    bound = program.bind({**observation(0, sides=(84, 56, 84)), **prefix()}, 2)
    declared = set().union(*(s.constants | s.observed for s in program.spec.stages))
    given = {name.partition("#")[0] for name in (*bound.constants, *bound.observed)}
    assert given == declared


def test_without_a_gpu_the_engine_names_the_reason() -> None:
    device = torch.device("cpu")
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA device, not cpu"):
        CudaGraphRecorder(device)
    reason = unavailable_reason("cuda_graph", device, None)
    assert reason == "needs a CUDA device, the model is on cpu"
    assert get_engine("cuda_graph").rank == 1


def test_preparing_records_the_graphs_of_the_real_observation(expected: ProgramEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    engine.prepare(observation(), 2)
    recorded = len(recorder.recordings)
    require_same(engine, expected, {**observation(1), **prefix(1)}, 2)
    assert len(recorder.recordings) == recorded == 2
    assert (engine.name, engine.graph_failures) == ("cuda_graph", {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_the_engine_gives_the_actions_of_the_cpu(expected: ProgramEngine) -> None:
    model = build_model(tiny_config(), seed=0).to("cuda:0")
    program = make_staged(model, embodiment=10)
    runner = GraphRunner(SegmentRunner(program), CudaGraphRecorder(program.device))
    engine = ProgramEngine("cuda_graph", program, runner)
    for seed, inputs in enumerate((observation(0), observation(1), observation(2, words=6))):
        conditioned = {**inputs, **prefix(seed)}
        reference = actions(expected, conditioned)
        for _ in range(2):
            np.testing.assert_allclose(actions(engine, conditioned), reference, atol=1e-4)
    assert engine.graph_failures == {}
    engine.close()
