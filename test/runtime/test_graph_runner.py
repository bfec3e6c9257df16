"""Backbone and head as graphs: which observations share one, and that the numbers are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from support.tiny_checkpoint import HORIZON
from support.tiny_staged_model import fast_model, noise, observation, prefix

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.runtime.engines.cuda_graph import CudaGraphEngine
from groot_ros.runtime.gr00t_n1d6 import TorchRunner, run_backbone, run_head
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.layout_tensors import structure_of, tensors_of, with_tensors
from groot_ros.runtime.staged_engine import StagedEngine


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plain() -> StagedEngine:
    fast = fast_model()
    return StagedEngine("torch", fast.host, TorchRunner(fast))


def graphed(recorder: FakeGraphRecorder, **options) -> StagedEngine:
    fast = fast_model()
    return StagedEngine(
        "cuda_graph", fast.host, GraphRunner(TorchRunner(fast), recorder, **options)
    )


def test_every_kind_of_observation_gives_the_same_actions(plain: StagedEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=8)
    runs = [
        (observation(0), 4, None),
        (observation(1), 4, prefix(1)),
        (observation(2, words=5), 4, None),
        (observation(3, sides=(56, 84)), 4, None),
        (observation(4, sides=(84, 56, 84)), 4, prefix(2)),
        (observation(5), 2, None),
        (observation(6), 4, None),
    ]
    for seed, (given, steps, continued) in enumerate(runs):
        result = engine.run(given, noise(seed), steps, continued).actions
        expected = plain.run(given, noise(seed), steps, continued).actions
        np.testing.assert_allclose(result, expected, atol=1e-6)
    # Lengths 2 x, views of two sizes 2 x; the head also by the number of steps.
    assert len(recorder.recordings) == 4 + 5


def test_another_instruction_of_the_same_length_needs_no_other_graph(plain: StagedEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    for seed in range(3):
        given = observation(seed)
        expected = plain.run(given, noise(), 4).actions
        np.testing.assert_allclose(engine.run(given, noise(), 4).actions, expected, atol=1e-6)
    assert len(recorder.recordings) == 2


def test_a_batch_keeps_its_rows_apart(plain: StagedEngine) -> None:
    engine = graphed(FakeGraphRecorder())
    given = observation(7, batch=3)
    expected = plain.run(given, noise(7, 3), 4).actions
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(engine.run(given, noise(7, 3), 4).actions, expected, atol=1e-6)


def test_a_prefix_replays_the_graph_of_plain_sampling() -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    engine.run(observation(), noise(), 4)
    frozen = engine.run(observation(), noise(), 4, prefix(3)).actions
    assert len(recorder.recordings) == 2
    np.testing.assert_array_equal(frozen[:, :2], prefix(3).prefix[:, :2])


def test_few_graphs_are_kept_where_a_context_belongs_to_one_shape(plain: StagedEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=1, several_sizes=False)
    for words in (3, 5, 3):
        given = observation(words=words)
        expected = plain.run(given, noise(), 4).actions
        np.testing.assert_allclose(engine.run(given, noise(), 4).actions, expected, atol=1e-6)
    assert len(recorder.recordings) == 6
    assert sum(not recording.released for recording in recorder.recordings) == 2


def test_views_of_several_sizes_run_plainly_where_they_cannot_be_recorded(
    plain: StagedEngine,
) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder, capacity=1, several_sizes=False)
    engine.run(observation(), noise(), 4)
    backbone = recorder.recordings[0]
    given = observation(sides=(56, 84))
    expected = plain.run(given, noise(), 4).actions
    np.testing.assert_allclose(engine.run(given, noise(), 4).actions, expected, atol=1e-6)
    assert backbone.released, "its contexts have other shapes now"
    assert len(recorder.recordings) == 3


def test_where_recording_fails_the_reason_is_told(plain: StagedEngine) -> None:
    fast = fast_model()
    runner = GraphRunner(
        TorchRunner(fast), FakeGraphRecorder(fault=RuntimeError("no graphs today"))
    )
    engine = StagedEngine("cuda_graph", fast.host, runner)
    for seed in range(2):
        given = observation(seed)
        expected = plain.run(given, noise(), 4).actions
        np.testing.assert_allclose(engine.run(given, noise(), 4).actions, expected, atol=1e-6)
    assert runner.reasons == {
        "backbone": "recording failed: no graphs today",
        "head": "recording failed: no graphs today",
    }


def test_closing_releases_the_graphs_first() -> None:
    recorder = FakeGraphRecorder()
    released: list[bool] = []

    class Watched(TorchRunner):
        def close(self) -> None:
            released.extend(recording.released for recording in recorder.recordings)
            super().close()

    fast = fast_model()
    runner = GraphRunner(Watched(fast), recorder)
    engine = StagedEngine("cuda_graph", fast.host, runner)
    engine.run(observation(), noise(), 4)
    assert runner.memory_bytes > 0
    engine.close()
    assert released == [True, True]
    assert runner.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        runner.backbone(None, [])


def test_what_is_recorded_can_be_run_by_itself_with_other_shapes(plain: StagedEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = graphed(recorder)
    engine.run(observation(), noise(), 4)
    given = observation(1, words=6)
    expected = plain.run(given, noise(), 4).actions
    alone = engine.launched_singly().run(given, noise(), 4).actions
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    assert all(recording.released for recording in recorder.recordings)
    np.testing.assert_allclose(engine.run(given, noise(), 4).actions, expected, atol=1e-6)


def test_a_layout_comes_back_from_its_tensors() -> None:
    given = observation(0, sides=(84, 56, 84))
    layouts = fast_model().host.layouts
    layout = layouts.of(given.input_ids[0], [(84, 84), (56, 56), (84, 84)])
    assert layout.order is not None
    copies = [tensor.clone() for tensor in tensors_of(layout)]
    back = with_tensors(layout, copies)
    assert structure_of(back) == structure_of(layout)
    for a, b, copy in zip(tensors_of(layout), tensors_of(back), copies, strict=True):
        assert b is copy
        assert torch.equal(a, b)
    assert back.batches[0].grid is not layout.batches[0].grid


def test_no_stage_asks_the_device_for_a_value() -> None:
    """On the meta device there are none; what it can do, a graph can record."""
    fast = fast_model()
    given = observation(0, sides=(84, 56, 84))
    real = fast.host.layouts.of(given.input_ids[0], [(84, 84), (56, 56), (84, 84)])
    layout = with_tensors(real, [tensor.to("meta") for tensor in tensors_of(real)])
    tables = fast.host.tables.of(4)
    for module in fast.modules.values():
        module.to("meta")
    patches = [torch.empty(2, 36, 588, device="meta"), torch.empty(1, 16, 588, device="meta")]
    there = [torch.empty(1, HORIZON, 8, device="meta") for _ in range(4)]
    clean = torch.empty(1, HORIZON, device="meta")
    with torch.inference_mode():
        features = run_backbone(fast.stages, layout, patches)
        actions = run_head(
            fast.stages,
            layout,
            replace(tables, **{name: t.to("meta") for name, t in vars(tables).items()}),
            features,
            torch.empty(1, 1, 8, device="meta"),
            torch.empty(1, HORIZON, 8, device="meta"),
            Conditioning(*there, clean),
        )
    assert features.shape == (1, real.embeddings.shape[1], 16)
    assert actions.shape == (1, HORIZON, 8)
    assert actions.device.type == "meta"


def test_without_a_gpu_the_engine_says_so() -> None:
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA device, not cpu"):
        CudaGraphEngine(fast_model())


def test_the_engine_replays_what_the_torch_engine_does(plain: StagedEngine) -> None:
    recorder = FakeGraphRecorder()
    engine = CudaGraphEngine(fast_model(), recorder)
    engine.prepare(observation(), 2)
    recorded = len(recorder.recordings)
    expected = plain.run(observation(1), noise(1), 2, prefix(1)).actions
    result = engine.run(observation(1), noise(1), 2, prefix(1)).actions
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert len(recorder.recordings) == recorded == 2, "prepared for the real observation"
    assert (engine.name, engine.reasons) == ("cuda_graph", {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_the_engine_gives_the_actions_of_the_cpu(plain: StagedEngine) -> None:
    from support.tiny_checkpoint import tiny_config

    from groot_ros.models.gr00t_n1d6 import build_model
    from groot_ros.runtime.gr00t_n1d6 import make_fast

    model = build_model(tiny_config(), seed=0).to("cuda:0")
    engine = CudaGraphEngine(make_fast(model, embodiment=10))
    for seed, given in enumerate((observation(0), observation(1), observation(2, words=6))):
        expected = plain.run(given, noise(seed), 4, prefix(seed)).actions
        for _ in range(2):
            result = engine.run(given, noise(seed), 4, prefix(seed)).actions
            np.testing.assert_allclose(result, expected, atol=1e-4)
    assert engine.reasons == {}
    engine.close()
