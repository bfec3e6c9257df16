# SPDX-License-Identifier: Apache-2.0
"""Stored figures of engines on this machine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from groot_ros.runtime.engine_benchmarks import (
    ENGINE_BENCHMARKS,
    read_benchmarks,
    seconds_here,
    store_benchmark,
)
from groot_ros.runtime.reference_outputs import ValidationResult

CPU = torch.device("cpu")


def result(error: float) -> ValidationResult:
    """Return the result of a validation whose shortest inference took 1 ms."""
    return ValidationResult(error, 1e-4, 0, {}, 0.001)


def test_a_validation_keeps_the_median_that_was_measured_before(tmp_path: Path) -> None:
    store_benchmark(tmp_path, "torch", result(1e-6), CPU, 0.5)
    store_benchmark(tmp_path, "torch", result(2e-6), CPU)
    found = read_benchmarks(tmp_path)["torch"]
    assert (found.seconds, found.error, found.validated) == (0.5, 2e-6, True)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}


def test_a_validation_alone_stores_no_time(tmp_path: Path) -> None:
    store_benchmark(tmp_path, "torch", result(1e-6), CPU)
    assert read_benchmarks(tmp_path)["torch"].seconds is None
    assert seconds_here(tmp_path, CPU) == {}


def test_times_of_another_machine_or_of_unvalidated_engines_do_not_count(tmp_path: Path) -> None:
    store_benchmark(tmp_path, "torch", result(1e-6), CPU, 0.5)
    store_benchmark(tmp_path, "onnxruntime", result(np.nan), CPU, 0.1)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}
    path = tmp_path / ENGINE_BENCHMARKS
    elsewhere = json.loads(path.read_text())
    elsewhere["torch"]["machine"] = "cpu (another one)"
    path.write_text(json.dumps(elsewhere))
    assert seconds_here(tmp_path, CPU) == {}
    store_benchmark(tmp_path, "torch", result(1e-6), CPU)
    assert read_benchmarks(tmp_path)["torch"].seconds is None


@pytest.mark.parametrize("text", ["{", "[]", '{"torch": 7}', '{"torch": {"machine": 1}}', "\0"])
def test_a_broken_file_is_one_warning_and_is_overwritten(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ENGINE_BENCHMARKS).write_text(text)
    assert seconds_here(tmp_path, CPU) == {}
    (record,) = caplog.records
    assert str(tmp_path / ENGINE_BENCHMARKS) in record.getMessage()
    assert "\n" not in record.getMessage()
    store_benchmark(tmp_path, "torch", result(1e-6), CPU, 0.5)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}


def test_a_file_that_cannot_be_read_nor_written_is_one_warning_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ENGINE_BENCHMARKS).mkdir()
    store_benchmark(tmp_path, "torch", result(1e-6), CPU, 0.5)
    read, written = (record.getMessage() for record in caplog.records)
    assert "engine_benchmarks.json: is a directory" in read
    assert "engine_benchmarks.json: cannot be written: Is a directory" in written
