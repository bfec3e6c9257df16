"""What is remembered of engines on this machine."""

import json
from pathlib import Path

import numpy as np
import torch

from groot_ros.runtime.measured import MEASURED, read_measured, remember, seconds_here
from groot_ros.runtime.oracle import Verdict

CPU = torch.device("cpu")


def verdict(error: float) -> Verdict:
    """Of a proof whose shortest inference took 1 ms."""
    return Verdict(error, 1e-4, 0, {}, 0.001)


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
