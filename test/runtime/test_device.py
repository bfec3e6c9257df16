"""Times between marks."""

import numpy as np
import pytest
import torch

from groot_ros.runtime import stopwatch
from groot_ros.runtime.stopwatch import Stopwatch
from groot_ros.runtime.tensors import upload


def test_times_lie_between_the_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 1.5, 3.5])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(3):
        watch.mark()
    assert watch.seconds() == [0.5, 2.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_gpu_is_timed_by_its_own_clock() -> None:
    device = torch.device("cuda:0")
    x = torch.randn(2048, 2048, device=device)
    watch = Stopwatch(device)
    watch.mark()
    for _ in range(50):
        x = torch.tanh(x @ x)
    watch.mark()
    watch.mark()
    long, short = watch.seconds()
    assert long > short >= 0.0


def test_what_is_uploaded_keeps_its_values() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = upload(array, torch.device("cpu"), torch.bfloat16)
    assert tensor.dtype == torch.bfloat16
    np.testing.assert_array_equal(tensor.float().numpy(), array)
    assert upload(array, torch.device("cpu")).dtype == torch.float32
