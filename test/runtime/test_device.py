# SPDX-License-Identifier: Apache-2.0
"""Times between marks, and copies between host and device."""

import time

import numpy as np
import pytest
import torch

from groot_ros.runtime.device import HostCopy, Stopwatch, upload

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def test_times_lie_between_the_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 1.5, 3.5])
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(clock))
        watch = Stopwatch(torch.device("cpu"))
        for _ in range(3):
            watch.mark()
    assert watch.seconds() == [0.5, 2.0]


@pytest.mark.gpu
@no_gpu
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_an_uploaded_tensor_keeps_its_values_and_type(dtype: torch.dtype) -> None:
    given = torch.arange(6).reshape(2, 3).to(dtype)
    tensor = upload(given, torch.device("cpu"))
    assert tensor.dtype == dtype
    assert torch.equal(tensor, given)


def test_a_fetched_result_is_a_copy() -> None:
    """An engine's outputs must not change when its next run overwrites its tensors."""
    result = torch.zeros(3)
    fetched = HostCopy().fetch(result)
    result.fill_(1.0)
    assert fetched.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.gpu
@no_gpu
def test_a_result_fetched_from_a_gpu_outlives_the_next() -> None:
    copy = HostCopy()
    first = copy.fetch(torch.zeros(3, device="cuda:0"))
    second = copy.fetch(torch.ones(3, device="cuda:0"))
    np.testing.assert_array_equal(first, np.zeros(3))
    np.testing.assert_array_equal(second, np.ones(3))
