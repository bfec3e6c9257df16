# SPDX-License-Identifier: Apache-2.0
"""Recording and replaying, with a fake recorder; with CUDA's only where there is a GPU."""

from collections.abc import Sequence

import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from torch import Tensor

from groot_ros.runtime.device import HostCopy
from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.graph_recorder import CudaGraphRecorder
from groot_ros.runtime.graph_replay import Replays, StaticTensors

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def scaled_sum(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
    return (constants[0] * (inputs[0] + inputs[1]),)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def recorder() -> FakeGraphRecorder:
    return FakeGraphRecorder()


def test_a_replay_sees_new_inputs_at_the_old_addresses(recorder: FakeGraphRecorder) -> None:
    replays = Replays("head", recorder)
    scale = random(3, seed=0)
    addresses = set()
    for seed in (1, 2, 3):
        a, b = random(3, seed=seed), random(3, seed=seed + 10)
        (result,) = replays(scaled_sum, [scale], [a, b])
        torch.testing.assert_close(result, scale * (a + b), atol=0, rtol=0)
        addresses.add(result.data_ptr())
    assert len(recorder.recordings) == 1
    assert recorder.recordings[0].replays == 3
    assert len(addresses) == 1
    assert replays.failure is None


def test_the_function_is_not_called_again_once_it_is_recorded(recorder: FakeGraphRecorder) -> None:
    replays = Replays("head", recorder)
    scale, a = random(3, seed=0), random(3, seed=1)

    def other(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        raise AssertionError("called")

    replays(scaled_sum, [scale], [a, a])
    (result,) = replays(other, [scale], [a, a])
    torch.testing.assert_close(result, scale * 2 * a, atol=0, rtol=0)


def test_other_constants_of_the_same_shapes_need_no_other_recording(
    recorder: FakeGraphRecorder,
) -> None:
    replays = Replays("head", recorder)
    a = random(3, seed=1)
    for seed in (5, 6, 5):
        scale = random(3, seed=seed)
        (result,) = replays(scaled_sum, [scale], [a, a])
        torch.testing.assert_close(result, scale * 2 * a, atol=0, rtol=0)
    assert len(recorder.recordings) == 1


def test_every_shape_and_key_has_its_own_recording(recorder: FakeGraphRecorder) -> None:
    replays = Replays("head", recorder)
    for size, key in ((3, 4), (5, 4), (3, 2), (3, 4), (5, 4)):
        a = random(size, seed=size)
        replays(scaled_sum, [a], [a, a], key)
    assert len(recorder.recordings) == 3


def test_only_the_first_shape_is_warmed_up_at_length(recorder: FakeGraphRecorder) -> None:
    calls: list[int] = []

    def counting(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        calls.append(len(inputs[0]))
        return (inputs[0] * 2,)

    replays = Replays("head", recorder)
    for size in (3, 5, 3):
        replays(counting, [], [random(size, seed=1)])
    # Warm-up, recording, and the replays that this recorder does by the work itself.
    assert calls == [3] * (3 + 1 + 1) + [5] * (1 + 1 + 1) + [3]


def test_the_oldest_recording_goes_first_and_is_released(recorder: FakeGraphRecorder) -> None:
    replays = Replays("head", recorder, capacity=2)

    def call(size: int) -> None:
        a = random(size, seed=size)
        (result,) = replays(scaled_sum, [a], [a, a])
        torch.testing.assert_close(result, 2 * a * a, atol=0, rtol=0)

    for size in (1, 2, 1, 3, 1, 2):
        call(size)
    first, second, third, again = recorder.recordings
    assert [first.released, second.released, third.released, again.released] == [
        False,
        True,
        True,
        False,
    ]
    replays.release()
    assert first.released
    assert again.released


@pytest.mark.parametrize("kind", [RuntimeError, TensorRtError])
def test_what_cannot_be_recorded_runs_without_a_graph_and_the_reason_is_logged(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FakeGraphRecorder(fault=kind("operation not permitted\nwhen capturing"))
    replays = Replays("backbone", recorder)
    scale = random(3, seed=0)
    for seed in (1, 2):
        a = random(3, seed=seed)
        (result,) = replays(scaled_sum, [scale], [a, a])
        torch.testing.assert_close(result, scale * 2 * a, atol=0, rtol=0)
    assert replays.failure == "recording failed: operation not permitted when capturing"
    assert "stage backbone runs without a CUDA graph: recording failed" in caplog.text
    assert len(caplog.records) == 1


def test_a_replay_with_other_numbers_is_never_used() -> None:
    recorder = FakeGraphRecorder(wrong=0.01)
    replays = Replays("head", recorder)
    a = random(3, seed=1)
    (result,) = replays(scaled_sum, [a], [a, a])
    torch.testing.assert_close(result, 2 * a * a, atol=0, rtol=0)
    assert replays.failure == "a replay gave other numbers than the work itself"
    assert recorder.recordings[0].released


def several(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Outputs of several shapes and types; one of them is empty."""
    (x,) = inputs
    return x + 1.0, x.long(), x[:0], x > 0


def test_a_function_may_have_several_outputs_of_any_type(recorder: FakeGraphRecorder) -> None:
    replays = Replays("context", recorder)
    addresses = set()
    for seed in (1, 2, 3):
        x = 3.0 * random(5, seed=seed)
        results = replays(several, [], [x])
        assert len(results) == 4
        for given, expected in zip(results, several([], [x]), strict=True):
            assert given.dtype == expected.dtype
            assert torch.equal(given, expected)
        addresses.add(tuple(result.data_ptr() for result in results))
    assert len(recorder.recordings) == len(addresses) == 1
    assert replays.failure is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_every_output_of_a_replay_is_compared(dtype: torch.dtype) -> None:
    """The offset of this recorder is in the last output only."""
    replays = Replays("context", FakeGraphRecorder(wrong=1.0))

    def work(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return inputs[0] + 1.0, inputs[0].to(dtype)

    x = random(5, seed=1)
    results = replays(work, [], [x])
    assert replays.failure == "a replay gave other numbers than the work itself"
    for given, expected in zip(results, work([], [x]), strict=True):
        assert torch.equal(given, expected)


def test_a_mistake_in_the_work_itself_is_raised(recorder: FakeGraphRecorder) -> None:
    def broken(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        raise ValueError("shapes")

    with pytest.raises(ValueError, match="shapes"):
        Replays("head", recorder)(broken, [], [])


def test_static_tensors_keep_their_addresses() -> None:
    a, b = random(3, seed=1), torch.tensor([1, 2])
    static = StaticTensors([a, b], torch.device("cpu"))
    before = [t.data_ptr() for t in static.tensors]
    static.fill([a, b])
    static.fill([a + 1, b + 1])
    assert [t.data_ptr() for t in static.tensors] == before
    torch.testing.assert_close(static.tensors[0], a + 1, atol=0, rtol=0)
    assert static.tensors[1].tolist() == [2, 3]


def test_values_of_other_shapes_do_not_fit() -> None:
    static = StaticTensors([torch.zeros(3)], torch.device("cpu"))
    with pytest.raises(RuntimeError, match="size"):
        static.fill([torch.zeros(2)])


@pytest.mark.gpu
@no_gpu
def test_a_cuda_graph_gives_the_numbers_of_the_work() -> None:
    device = torch.device("cuda:0")
    replays = Replays("head", CudaGraphRecorder(device))
    weight = random(64, 64, seed=0).to(device, torch.bfloat16)

    def work(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        x = inputs[0] @ constants[0]
        for _ in range(20):
            x = torch.tanh(x @ constants[0])
        return (x.float(),)

    back = HostCopy()
    for rows in (4, 8, 4):
        for seed in (1, 2):
            x = random(rows, 64, seed=seed).bfloat16()
            (expected,) = work([weight], [x.to(device)])
            (result,) = replays(work, [weight], [x])
            # float32, as what engines fetch, but with the precision of bfloat16.
            fetched = torch.from_numpy(back.fetch(result))
            torch.testing.assert_close(fetched.bfloat16(), expected.cpu().bfloat16())
    assert replays.failure is None
    replays.release()


@pytest.mark.gpu
@no_gpu
def test_a_synchronisation_inside_falls_back_to_work_without_a_graph() -> None:
    device = torch.device("cuda:0")
    replays = Replays("head", CudaGraphRecorder(device))

    def work(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * float(inputs[0].sum()),)

    x = random(4, seed=1)
    for _ in range(2):
        (result,) = replays(work, [], [x])
        torch.testing.assert_close(result.cpu(), x * float(x.sum()))
    assert replays.failure is not None
    assert replays.failure.startswith("recording failed: ")
    torch.cuda.empty_cache()


@pytest.mark.gpu
@no_gpu
def test_after_a_recording_that_failed_others_work() -> None:
    device = torch.device("cuda:0")
    recorder = CudaGraphRecorder(device)
    x = random(4, seed=1)

    def waits(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * float(inputs[0].sum()),)

    def doubles(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * 2,)

    before = torch.cuda.current_stream(device)
    Replays("backbone", recorder)(waits, [], [x])
    assert torch.cuda.current_stream(device) == before
    head = Replays("head", recorder)
    for seed in (1, 2):
        y = random(4, seed=seed)
        (result,) = head(doubles, [], [y])
        torch.testing.assert_close(result.cpu(), 2 * y, atol=0, rtol=0)
    assert head.failure is None
    head.release()
