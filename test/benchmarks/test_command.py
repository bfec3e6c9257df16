"""`python -m benchmarks`: which run, and that no option is lost."""

import importlib
from types import SimpleNamespace

import pytest

from benchmarks.__main__ import QUICK, SLOW, main


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Benchmarks that were run, each with its options; none of them really is."""
    calls: list[tuple[str, list[str]]] = []

    def pretend(name: str) -> SimpleNamespace:
        return SimpleNamespace(main=lambda options: calls.append((name, options)))

    monkeypatch.setattr(importlib, "import_module", pretend)
    return calls


def test_without_a_name_the_quick_ones_run(ran) -> None:
    main([])
    assert ran == [(f"benchmarks.{name}", []) for name in QUICK]


def test_all_runs_the_slow_ones_too(ran) -> None:
    main(["--all"])
    assert [name for name, _ in ran] == [f"benchmarks.{name}" for name in (*QUICK, *SLOW)]


def test_options_go_to_the_benchmark_that_is_named(ran) -> None:
    main(["executor_jitter", "--seconds", "5"])
    assert ran == [("benchmarks.executor_jitter", ["--seconds", "5"])]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["abacus"], "no benchmark 'abacus'; there are: preprocessing, "),
        (["--seconds", "5"], "--seconds: name the one benchmark that it is for"),
        (["limits", "load", "--cases", "9"], "--cases: name the one benchmark that it is for"),
    ],
)
def test_wrong_use_is_one_line_and_runs_nothing(ran, arguments, told) -> None:
    with pytest.raises(SystemExit, match=told):
        main(arguments)
    assert ran == []


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_misspelt_option_is_rejected_by_name(name, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"benchmarks.{name}").main(["--caess", "10"])
    error = capsys.readouterr().err
    assert f"python -m benchmarks.{name}: error: unrecognized arguments: --caess 10" in error
