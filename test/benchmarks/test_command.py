# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks`: which benchmarks run, and their options."""

import importlib
from types import SimpleNamespace

import pytest

from benchmarks.__main__ import QUICK, SEPARATE, SLOW, main


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Replace the benchmarks; return the names and options of those that would have run."""
    calls: list[tuple[str, list[str]]] = []

    def pretend(name: str) -> SimpleNamespace:
        return SimpleNamespace(main=lambda options: calls.append((name, options)))

    monkeypatch.setattr(importlib, "import_module", pretend)
    return calls


def test_without_a_name_the_quick_benchmarks_run(ran) -> None:
    main([])
    assert ran == [(f"benchmarks.{name}", []) for name in QUICK]


def test_all_also_runs_the_slow_benchmarks(ran) -> None:
    main(["--all"])
    assert [name for name, _ in ran] == [f"benchmarks.{name}" for name in (*QUICK, *SLOW)]


def test_options_are_passed_to_the_named_benchmark(ran) -> None:
    main(["executor_jitter", "--seconds", "5"])
    assert ran == [("benchmarks.executor_jitter", ["--seconds", "5"])]


def test_a_status_other_than_0_is_that_of_the_command(monkeypatch) -> None:
    failed = SimpleNamespace(main=lambda options: 1)
    monkeypatch.setattr(importlib, "import_module", lambda name: failed)
    with pytest.raises(SystemExit, match="1"):
        main(["gpu"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["abacus"], "unknown benchmark 'abacus'; choose from preprocessing, "),
        (["--seconds", "5"], "--seconds: options need exactly one benchmark"),
        (["limits", "load", "--cases", "9"], "--cases: options need exactly one benchmark"),
    ],
)
def test_wrong_arguments_are_a_one_line_error_and_nothing_runs(ran, arguments, problem) -> None:
    with pytest.raises(SystemExit, match=problem):
        main(arguments)
    assert ran == []


@pytest.mark.parametrize("name", [*QUICK, *SLOW, *SEPARATE])
def test_a_misspelt_option_is_rejected(name, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"benchmarks.{name}").main(["--caess", "10"])
    error = capsys.readouterr().err
    assert f"python -m benchmarks.{name}: error: unrecognized arguments: --caess 10" in error
