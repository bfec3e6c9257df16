"""Which engine a policy runs: the one asked for, or the fastest that is proven here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from groot_ros.core.config_reader import CheckpointError
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.errors import (
    EngineFailedError,
    EngineFilesError,
    StepsNotStoredError,
    UnvalidatedEngineError,
)
from groot_ros.runtime.oracle import ValidationResult

#: Fastest first, as far as one can say without having measured it.
USUAL_ORDER = ("tensorrt", "cuda_graph", "torch", "onnxruntime")


@dataclass(frozen=True)
class Choice:
    """An engine and how it came to be chosen.

    Attributes:
        engine: ready to run.
        verdict: of its proof, None where nothing is stored to prove it with.
        notes: one line for every engine that was thought of.
        warnings: those among them that somebody should mend: an engine that could run here broke,
            gave other answers, or runs all the same.

    """

    engine: Engine
    verdict: ValidationResult | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def order_of(seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Engines by the time they took on this machine; those never measured after, as usual."""
    measured = sorted((name for name in USUAL_ORDER if name in seconds), key=seconds.__getitem__)
    return (*measured, *(name for name in USUAL_ORDER if name not in seconds))


def choose_engine(
    wanted: str,
    make: Callable[[str], Engine],
    prove: Callable[[Engine], ValidationResult | None],
    *,
    obstacle: Callable[[str], str],
    order: Sequence[str] = USUAL_ORDER,
    allow_unvalidated: bool = False,
) -> Choice:
    """Make and prove the engine that was asked for; with "auto", the first that can be proven.

    Args:
        wanted: name of an engine, or "auto".
        make: gives an engine by name.
        prove: compares it with stored answers; None where there are none.
        obstacle: why an engine cannot run here, in words; empty if nothing is known against it.
        order: of the candidates for "auto".
        allow_unvalidated: run the engine that was asked for even if it is not proven: it gives other
            answers, or none are stored for this number of denoising steps.

    Raises:
        EngineFilesError: the engine that was asked for cannot run here, or with "auto" none can.
        EngineFailedError: the engine that was asked for broke.
        UnvalidatedEngineError: it does not give the stored answers.
        CheckpointError: the weights that every engine needs cannot be read.

    """
    if wanted != "auto":
        try:
            return _asked_for(wanted, make, prove, allow_unvalidated)
        except (RuntimeError, OSError) as error:
            raise EngineFailedError(f"engine '{wanted}': {_one_line(error)}") from error
    notes: list[str] = []
    warnings: list[str] = []
    names_by_reason: dict[str, list[str]] = {}
    for name in order:
        reason = expected = obstacle(name)
        if not expected:
            found = _try(name, make, prove)
            if isinstance(found, Choice):
                return replace(found, notes=(*notes, *found.notes), warnings=tuple(warnings))
            reason = found
        notes.append(f"engine {name} not taken: {reason}")
        warnings += () if expected else notes[-1:]
        names_by_reason.setdefault(reason, []).append(name)
    every = "; ".join(f"{', '.join(names)}: {why}" for why, names in names_by_reason.items())
    raise EngineFilesError(f"no engine can run here: {every}")


def _asked_for(
    name: str,
    make: Callable[[str], Engine],
    prove: Callable[[Engine], ValidationResult | None],
    allow_unvalidated: bool,
) -> Choice:
    engine = make(name)
    with _closed_on_failure(engine):
        try:
            verdict = prove(engine)
        except StepsNotStoredError as error:
            if not allow_unvalidated:
                raise
            return _unproven(engine, None, f"engine {name} runs UNPROVEN: {error}")
        if verdict is None or verdict.proven:
            return Choice(engine, verdict, (_taken(name, verdict),))
        if not allow_unvalidated:
            raise UnvalidatedEngineError(name, verdict)
    return _unproven(engine, verdict, f"engine {name} runs UNPROVEN: {verdict}")


def _unproven(engine: Engine, verdict: ValidationResult | None, warning: str) -> Choice:
    return Choice(engine, verdict, (warning,), (warning,))


def _try(
    name: str, make: Callable[[str], Engine], prove: Callable[[Engine], ValidationResult | None]
) -> Choice | str:
    """The choice, or the reason against it."""
    try:
        return _asked_for(name, make, prove, allow_unvalidated=False)
    except UnvalidatedEngineError as error:
        return f"not proven: {error.verdict}"
    except CheckpointError:
        # Every engine reads the same weights.
        raise
    except (ValueError, RuntimeError, OSError) as error:
        return _one_line(error)


def _one_line(error: Exception) -> str:
    """Torch says in many that memory is short."""
    return " ".join(str(error).split())


@contextmanager
def _closed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.close()
        raise


def _taken(name: str, verdict: ValidationResult | None) -> str:
    if verdict is None:
        return f"engine {name} taken; no stored answers to prove it with (no engine_directory)"
    return f"engine {name} taken, proven: {verdict}, shortest run {1e3 * verdict.seconds:.1f} ms"
