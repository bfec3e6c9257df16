# SPDX-License-Identifier: Apache-2.0
"""Choose the engine that a policy runs: the one requested, or the fastest validated one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from groot_ros.core.config_reader import CheckpointError
from groot_ros.runtime import AUTO
from groot_ros.runtime.engine import (
    Engine,
    EngineFailedError,
    EngineFilesError,
    StepsNotStoredError,
    one_line,
)
from groot_ros.runtime.reference_outputs import UnvalidatedEngineError, ValidationResult

Validate = Callable[[Engine], ValidationResult | None]


@dataclass(frozen=True)
class Selection:
    """The selected engine, and the reasons for the selection.

    Attributes:
        engine: the engine, ready to run.
        validation: result of its validation, None if no reference outputs are stored.
        notes: one line for every engine that was considered.
        warnings: the notes that need attention: an engine that could run on this machine failed
            or did not validate, or the selected engine runs without validation.

    """

    engine: Engine
    validation: ValidationResult | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def order_of(seconds: Mapping[str, float], usual: Sequence[str]) -> tuple[str, ...]:
    """Order engines by measured time; those without a measurement follow in the usual order.

    Args:
        seconds: engine -> time of one inference on this machine, s.
        usual: the engines, usually fastest first.

    """
    measured = sorted((name for name in usual if name in seconds), key=seconds.__getitem__)
    return (*measured, *(name for name in usual if name not in seconds))


def select_engine(
    requested: str,
    make: Callable[[str], Engine],
    validate: Validate,
    *,
    unavailable_reason: Callable[[str], str],
    order: Sequence[str],
    allow_unvalidated: bool = False,
) -> Selection:
    """Make and validate the requested engine, or with "auto" the first one that validates.

    Args:
        requested: name of an engine, or "auto".
        make: makes an engine by name.
        validate: compares an engine with reference outputs; returns None if none are stored.
        unavailable_reason: returns why an engine cannot run on this machine, or "" if no reason
            is known.
        order: the candidates for "auto", in the order in which they are tried.
        allow_unvalidated: run the requested engine even if it does not reproduce the reference
            outputs, or if none are stored for this number of denoising steps.

    Raises:
        EngineFilesError: the requested engine cannot run on this machine, or its files cannot be
            used; with "auto": no engine can run.
        EngineFailedError: the requested engine failed while it was loaded or validated.
        UnvalidatedEngineError: the requested engine does not reproduce the reference outputs.
        CheckpointError: the weights, which every engine needs, cannot be read.

    """
    if requested != AUTO:
        if reason := unavailable_reason(requested):
            raise EngineFilesError(f"engine '{requested}': {reason}")
        try:
            return _requested(requested, make, validate, allow_unvalidated)
        except (RuntimeError, OSError) as error:
            raise EngineFailedError(f"engine '{requested}': {one_line(error)}") from error
    notes: list[str] = []
    warnings: list[str] = []
    names_by_reason: dict[str, list[str]] = {}
    for name in order:
        reason = expected = unavailable_reason(name)
        if not expected:
            found = _try(name, make, validate)
            if isinstance(found, Selection):
                return replace(found, notes=(*notes, *found.notes), warnings=tuple(warnings))
            reason = found
        notes.append(f"engine {name} not selected: {reason}")
        warnings += () if expected else notes[-1:]
        names_by_reason.setdefault(reason, []).append(name)
    every = "; ".join(f"{', '.join(names)}: {why}" for why, names in names_by_reason.items())
    raise EngineFilesError(f"no engine can run here: {every}")


def _requested(
    name: str, make: Callable[[str], Engine], validate: Validate, allow_unvalidated: bool
) -> Selection:
    engine = make(name)
    with _closed_on_failure(engine):
        try:
            result = validate(engine)
        except StepsNotStoredError as error:
            if not allow_unvalidated:
                raise
            return _unvalidated(engine, None, f"engine {name} runs UNVALIDATED: {error}")
        if result is None or result.validated:
            return Selection(engine, result, (_selected(name, result),))
        if not allow_unvalidated:
            raise UnvalidatedEngineError(name, result)
    return _unvalidated(engine, result, f"engine {name} runs UNVALIDATED: {result}")


def _unvalidated(engine: Engine, result: ValidationResult | None, warning: str) -> Selection:
    return Selection(engine, result, (warning,), (warning,))


def _try(name: str, make: Callable[[str], Engine], validate: Validate) -> Selection | str:
    """Return the selection, or the reason why this engine is not selected."""
    try:
        return _requested(name, make, validate, allow_unvalidated=False)
    except UnvalidatedEngineError as error:
        return f"not validated: {error.result}"
    except CheckpointError:
        # Every engine reads the same weights, so no other engine would work either.
        raise
    except (ValueError, RuntimeError, OSError) as error:
        return one_line(error)


@contextmanager
def _closed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.close()
        raise


def _selected(name: str, result: ValidationResult | None) -> str:
    if result is None:
        return f"engine {name} selected; no reference outputs to validate it (no engine_directory)"
    return (
        f"engine {name} selected, validated: {result}, shortest run {1e3 * result.seconds:.1f} ms"
    )
