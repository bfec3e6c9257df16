# SPDX-License-Identifier: Apache-2.0
"""The benchmark of inference: operations and bytes, and a whole run on a tiny model."""

import shutil
import sys
from types import ModuleType

import pytest
import torch
from support import tiny_n1d5
from support.tiny_checkpoint import tiny_config
from support.torch_threads import one_thread

from benchmarks.inference import main
from benchmarks.inference.contestants import can_compile, compiled, eager, reference, through
from benchmarks.inference.roofline import Machine, describe_libraries
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t_n1d5 import benchmark as n1d5
from groot_ros.families.gr00t_n1d5.family import Gr00tN1d5Family
from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase
from groot_ros.families.gr00t_n1d6.family import Gr00tN1d6Family
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import make_staged
from groot_ros.families.registry import get_family
from groot_ros.runtime.engine_benchmarks import processor_name
from groot_ros.runtime.program_engine import SegmentRunner

__all__ = ["one_thread"]

CPU = torch.device("cpu")


def tiny_case(stage: str, horizon: int = 8, seed: int = 0) -> BenchmarkCase:
    config = tiny_config(action_horizon=horizon, max_num_embodiments=1, max_seq_len=64)
    sizes = ((56, 56), (56, 56))
    return BenchmarkCase(stage, config, CPU, torch.float32, image_sizes=sizes, steps=2, seed=seed)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the published networks by tiny ones."""
    monkeypatch.setattr(
        Gr00tN1d6Family, "benchmark", lambda _, stage, horizon, *rest: tiny_case(stage, horizon)
    )
    small = tiny_n1d5.tiny_config()
    monkeypatch.setattr(
        Gr00tN1d5Family,
        "benchmark",
        lambda _, stage, horizon, *rest: n1d5.BenchmarkCase(stage, small, *rest),
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
    assert machine.reading(SegmentWork(nbytes=5.0, operations=300.0)) == 0.5
    assert machine.computing(SegmentWork(nbytes=5.0, operations=300.0)) == 3.0


@pytest.mark.parametrize("name", ["libmkl", "BLAS_INFO=open, oneDNN v3.9"])
def test_the_libraries_are_named_where_torch_states_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: name)
    known = "BLAS open, oneDNN v3.9" if "=" in name else "BLAS unknown, no oneDNN"
    assert describe_libraries() == f"{known}, {torch.backends.cpu.get_cpu_capability()}"


@pytest.mark.slow
def test_the_vocabulary_head_changes_the_time_only() -> None:
    case = tiny_case("backbone")
    assert torch.equal(eager("backbone", case)(), reference("backbone", case)())
    assert torch.equal(eager("head", tiny_case("head"))(), reference("head", tiny_case("head"))())


@pytest.mark.slow
def test_weights_are_frozen_while_the_reference_model_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import config

    frozen = []

    def compile_later(run, dynamic):
        assert dynamic is False
        return lambda: (frozen.append(config.freezing), run())[1]

    monkeypatch.setattr(torch, "compile", compile_later)
    case = tiny_case("head")
    run = compiled("head", case)
    assert torch.equal(run(), reference("head", case)())
    assert frozen == [True, False]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not can_compile()


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
@pytest.mark.parametrize("family", ["gr00t_n1d6", "gr00t_n1d5"])
def test_a_run_prints_every_segment_and_contestant(
    family: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []
    monkeypatch.setattr(
        "benchmarks.inference.roofline.Machine.measure", lambda *_: Machine(1e9, 1e9)
    )
    elsewhere = ModuleType("elsewhere")
    elsewhere.other = lambda part, case: lambda: timed.append(part)
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    arguments = ["--family", family, "--rounds", "1", "--horizons", "8", "--device", "cpu"]
    arguments += ["--engines", "eager", "reference"]
    monkeypatch.setattr(sys, "argv", ["inference", *arguments, "--against", "elsewhere:other"])
    main()
    text = capsys.readouterr().out
    assert f"\n{family}, horizon 8, " in text
    assert f"cpu ({processor_name()})\ncpu, 1 threads, BLAS " in text
    assert "measured 1.0 GB/s and 0.001 TFLOP/s" in text
    rows = [line.split() for line in text.splitlines()]
    names = [tuple(row[:2]) for row in rows if row and row[0] in ("torch", "eager", "reference")]
    assert names == [
        ("torch", "vision"),
        ("torch", "language"),
        ("torch", "backbone"),
        ("eager", "backbone"),
        ("reference", "backbone"),
        ("torch", "context"),
        ("torch", "denoise"),
        ("torch", "head"),
        ("eager", "head"),
        ("reference", "head"),
        ("eager", "whole"),
        ("reference", "whole"),
    ]
    (whole,) = (row for row in rows if row[:2] == ["reference", "whole"])
    parts = [row for row in rows if row[:1] == ["reference"] and row[1] != "whole"]
    assert float(whole[2]) == pytest.approx(sum(float(row[2]) for row in parts), abs=0.15)
    assert ["elsewhere:other", "head"] in [row[:2] for row in rows]
    assert set(timed) == {"backbone", "head"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["nothing", "no_such_module:x", "sys:no_such_name"])
def test_a_missing_implementation_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inference", "--device", "cpu", "--against", name])
    with pytest.raises(SystemExit, match=f"--against {name}"):
        main()
