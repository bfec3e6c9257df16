"""What is remembered of engines on this machine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from groot_ros.runtime.engine_benchmarks import MEASURED, read_measured, remember, seconds_here
from groot_ros.runtime.reference_outputs import ValidationResult

CPU = torch.device("cpu")


def verdict(error: float) -> ValidationResult:
    """Of a proof whose shortest inference took 1 ms."""
    return ValidationResult(error, 1e-4, 0, {}, 0.001)


def test_a_proof_keeps_the_median_that_was_measured_before(tmp_path: Path) -> None:
    remember(tmp_path, "torch", verdict(1e-6), CPU, 0.5)
    remember(tmp_path, "torch", verdict(2e-6), CPU)
    found = read_measured(tmp_path)["torch"]
    assert (found.seconds, found.error, found.proven) == (0.5, 2e-6, True)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}


def test_a_proof_alone_says_nothing_of_the_time(tmp_path: Path) -> None:
    remember(tmp_path, "torch", verdict(1e-6), CPU)
    assert read_measured(tmp_path)["torch"].seconds is None
    assert seconds_here(tmp_path, CPU) == {}


def test_times_of_another_machine_or_of_unproven_engines_do_not_count(tmp_path: Path) -> None:
    remember(tmp_path, "torch", verdict(1e-6), CPU, 0.5)
    remember(tmp_path, "onnxruntime", verdict(np.nan), CPU, 0.1)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}
    path = tmp_path / MEASURED
    elsewhere = json.loads(path.read_text())
    elsewhere["torch"]["machine"] = "cpu (another one)"
    path.write_text(json.dumps(elsewhere))
    assert seconds_here(tmp_path, CPU) == {}
    remember(tmp_path, "torch", verdict(1e-6), CPU)
    assert read_measured(tmp_path)["torch"].seconds is None


@pytest.mark.parametrize("text", ["{", "[]", '{"torch": 7}', '{"torch": {"machine": 1}}', "\0"])
def test_a_broken_file_is_one_warning_and_is_written_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MEASURED).write_text(text)
    assert seconds_here(tmp_path, CPU) == {}
    (record,) = caplog.records
    assert str(tmp_path / MEASURED) in record.getMessage()
    assert "\n" not in record.getMessage()
    remember(tmp_path, "torch", verdict(1e-6), CPU, 0.5)
    assert seconds_here(tmp_path, CPU) == {"torch": 0.5}


def test_a_file_that_cannot_be_written_does_not_cost_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MEASURED).mkdir()
    remember(tmp_path, "torch", verdict(1e-6), CPU, 0.5)
    (record,) = caplog.records
    assert "measured.json: cannot be written: Is a directory" in record.getMessage()
