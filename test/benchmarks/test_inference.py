# SPDX-License-Identifier: Apache-2.0
"""The benchmark of inference: operations and bytes, and a whole run on a tiny model."""

import sys
from types import ModuleType

import pytest
import torch
from support.tiny_checkpoint import tiny_config
from support.torch_threads import one_thread

from benchmarks.inference import main
from benchmarks.inference.contestants import reference, through
from benchmarks.inference.roofline import Machine
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase
from groot_ros.families.gr00t_n1d6.family import Gr00tN1d6Family
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import make_staged
from groot_ros.families.registry import get_family
from groot_ros.runtime.program_engine import SegmentRunner

__all__ = ["one_thread"]

CPU = torch.device("cpu")


def tiny_case(stage: str, horizon: int = 8, seed: int = 0) -> BenchmarkCase:
    config = tiny_config(action_horizon=horizon, max_num_embodiments=1, max_seq_len=64)
    sizes = ((56, 56), (56, 56))
    return BenchmarkCase(stage, config, CPU, torch.float32, image_sizes=sizes, steps=2, seed=seed)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the published network by a tiny one."""
    monkeypatch.setattr(
        Gr00tN1d6Family, "benchmark", lambda _, stage, horizon, *rest: tiny_case(stage, horizon)
    )
    monkeypatch.setattr("benchmarks.inference.report.MEMORY", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "head"), [(16, 0.135e12), (50, 0.366e12)])
def test_operations_and_bytes_are_those_of_the_published_architecture(horizon, head) -> None:
    """Compare with values calculated from layer sizes: two views, 202 tokens, 4 steps."""
    family = get_family("gr00t_n1d6")
    cases = {
        stage: family.benchmark(stage, horizon, CPU, torch.bfloat16)
        for stage in ("backbone", "head")
    }
    assert len(cases["head"].token_ids) == 202
    model = build_model(cases["head"].config, device="meta", dtype=torch.bfloat16)
    program = make_staged(model)
    backbone, rest = (case.work(program) for case in cases.values())
    assert backbone["vision"].operations == pytest.approx(0.565e12, rel=0.01)
    assert backbone["language"].operations == pytest.approx(0.328e12, rel=0.01)
    assert backbone["vision"].nbytes == pytest.approx(0.852e9, rel=0.01)
    assert backbone["language"].nbytes == pytest.approx(1.611e9, rel=0.01)
    assert sum(w.operations for w in rest.values()) == pytest.approx(head, rel=0.02)
    assert sum(w.nbytes for w in rest.values()) == pytest.approx(6.97e9, rel=0.02)
    assert family.resident_bytes(horizon, torch.bfloat16) < 5.2e9


def test_the_floor_is_the_larger_of_reading_and_computing_time() -> None:
    machine = Machine(bandwidth=10.0, speed=100.0)
    assert machine.floor(SegmentWork(nbytes=20.0, operations=100.0)) == 2.0
    assert machine.floor(SegmentWork(nbytes=5.0, operations=300.0)) == 3.0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["backbone", "head"])
def test_reference_and_staged_model_have_the_same_weights_and_inputs(stage: str) -> None:
    case = tiny_case(stage)
    program = case.program()
    found = through(case, program, SegmentRunner(program))()
    torch.testing.assert_close(found, reference(stage, case)(), atol=1e-5, rtol=0)
    assert not torch.allclose(found, reference(stage, tiny_case(stage, seed=1))())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_run_prints_every_segment_and_contestant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []
    monkeypatch.setattr(
        "benchmarks.inference.roofline.Machine.measure", lambda *_: Machine(1e9, 1e9)
    )
    elsewhere = ModuleType("elsewhere")
    elsewhere.other = lambda part, case: lambda: timed.append(part)
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    arguments = ["--rounds", "1", "--horizons", "8", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["inference", *arguments, "--against", "elsewhere:other"])
    main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    names = [tuple(row[:2]) for row in rows if row and row[0] in ("torch", "reference")]
    assert names == [
        ("torch", "vision"),
        ("torch", "language"),
        ("torch", "backbone"),
        ("reference", "backbone"),
        ("torch", "context"),
        ("torch", "denoise"),
        ("torch", "head"),
        ("reference", "head"),
    ]
    assert ["elsewhere:other", "head"] in [row[:2] for row in rows]
    assert set(timed) == {"backbone", "head"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["nothing", "no_such_module:x", "sys:no_such_name"])
def test_a_missing_implementation_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inference", "--device", "cpu", "--against", name])
    with pytest.raises(SystemExit, match=f"--against {name}"):
        main()
