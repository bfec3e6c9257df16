"""Which engine a policy runs: the one asked for, or the fastest that is proven here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from groot_ros.runtime.engine import Engine
from groot_ros.runtime.manifest import EngineFilesError
from groot_ros.runtime.oracle import Verdict

#: Fastest first, as far as one can say without having measured it.
USUAL_ORDER = ("tensorrt", "cuda_graph", "torch", "onnxruntime")


class UnprovenEngineError(ValueError):
    """An engine does not give the stored answers; one line with the figures and the way out."""


@dataclass(frozen=True)
class Choice:
    """An engine and how it came to be chosen.

    Attributes:
        engine: ready to run.
        verdict: of its proof, None where nothing is stored to prove it with.
        notes: one line for every engine that was thought of.

    """

    engine: Engine
    verdict: Verdict | None
    notes: tuple[str, ...]


def order_of(seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Engines by the time they took on this machine; those never measured after, as usual."""
    measured = sorted((name for name in USUAL_ORDER if name in seconds), key=seconds.__getitem__)
    return (*measured, *(name for name in USUAL_ORDER if name not in seconds))


def choose_engine(
    wanted: str,
    make: Callable[[str], Engine],
    prove: Callable[[Engine], Verdict | None],
    *,
    obstacle: Callable[[str], str],
    order: Sequence[str] = USUAL_ORDER,
    allow_unproven: bool = False,
) -> Choice:
    """Make and prove the engine that was asked for; with "auto", the first that can be proven.

    Args:
        wanted: name of an engine, or "auto".
        make: gives an engine by name.
        prove: compares it with stored answers; None where there are none.
        obstacle: why an engine cannot run here, in words; empty if nothing is known against it.
        order: of the candidates for "auto".
        allow_unproven: run the engine that was asked for even if it is not proven.

    Raises:
        EngineFilesError: the engine that was asked for cannot run here.
        UnprovenEngineError: it does not give the stored answers.

    """
    if wanted != "auto":
        return _asked_for(wanted, make, prove, allow_unproven)
    notes: list[str] = []
    for name in order:
        reason = obstacle(name)
        if not reason:
            found = _try(name, make, prove)
            if isinstance(found, Choice):
                return Choice(found.engine, found.verdict, (*notes, *found.notes))
            reason = found
        notes.append(f"engine {name} not taken: {reason}")
    raise EngineFilesError(f"no engine can run here: {'; '.join(notes)}")


def _asked_for(
    name: str,
    make: Callable[[str], Engine],
    prove: Callable[[Engine], Verdict | None],
    allow_unproven: bool,
) -> Choice:
    engine = make(name)
    try:
        verdict = prove(engine)
    except EngineFilesError as error:
        if not allow_unproven:
            engine.close()
            raise
        return Choice(engine, None, (f"engine {name} runs UNPROVEN: {error}",))
    if verdict is not None and not verdict.proven:
        if not allow_unproven:
            engine.close()
            raise UnprovenEngineError(
                f"engine '{name}' does not give the stored answers: {verdict}; build it anew "
                "(groot-ros engine make), take another engine, or set allow_unproven_engine"
            )
        return Choice(engine, verdict, (f"engine {name} runs UNPROVEN: {verdict}",))
    return Choice(engine, verdict, (_taken(name, verdict),))


def _try(
    name: str, make: Callable[[str], Engine], prove: Callable[[Engine], Verdict | None]
) -> Choice | str:
    """The choice, or the reason against it."""
    try:
        engine = make(name)
    except EngineFilesError as error:
        return str(error)
    try:
        verdict = prove(engine)
    except EngineFilesError as error:
        engine.close()
        return str(error)
    if verdict is not None and not verdict.proven:
        engine.close()
        return f"not proven: {verdict}"
    return Choice(engine, verdict, (_taken(name, verdict),))


def _taken(name: str, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"engine {name} taken; no stored answers to prove it with (no engine_directory)"
    return f"engine {name} taken, proven: {verdict}, {1e3 * verdict.seconds:.1f} ms"
