"""Which engine a policy runs: the one asked for, or the fastest that is proven here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from groot_ros.runtime.engine import Engine
from groot_ros.runtime.errors import EngineFilesError, StepsNotStoredError, UnprovenEngineError
from groot_ros.runtime.oracle import Verdict
from groot_ros.types.fields import CheckpointError

#: Fastest first, as far as one can say without having measured it.
USUAL_ORDER = ("tensorrt", "cuda_graph", "torch", "onnxruntime")


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
        allow_unproven: run the engine that was asked for even if it is not proven: it gives other
            answers, or none are stored for this number of denoising steps.

    Raises:
        EngineFilesError: the engine that was asked for cannot run here, or with "auto" none can.
        UnprovenEngineError: it does not give the stored answers.
        CheckpointError: the weights that every engine needs cannot be read.

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
    with _closed_on_failure(engine):
        try:
            verdict = prove(engine)
        except StepsNotStoredError as error:
            if not allow_unproven:
                raise
            return Choice(engine, None, (f"engine {name} runs UNPROVEN: {error}",))
        if verdict is None or verdict.proven:
            return Choice(engine, verdict, (_taken(name, verdict),))
        if not allow_unproven:
            raise UnprovenEngineError(name, verdict)
    return Choice(engine, verdict, (f"engine {name} runs UNPROVEN: {verdict}",))


def _try(
    name: str, make: Callable[[str], Engine], prove: Callable[[Engine], Verdict | None]
) -> Choice | str:
    """The choice, or the reason against it."""
    try:
        return _asked_for(name, make, prove, allow_unproven=False)
    except UnprovenEngineError as error:
        return f"not proven: {error.verdict}"
    except CheckpointError:
        # Every engine reads the same weights.
        raise
    except (ValueError, RuntimeError) as error:
        # torch says with a RuntimeError of many lines that memory is short.
        return " ".join(str(error).split())


@contextmanager
def _closed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.close()
        raise


def _taken(name: str, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"engine {name} taken; no stored answers to prove it with (no engine_directory)"
    return f"engine {name} taken, proven: {verdict}, {1e3 * verdict.seconds:.1f} ms"
