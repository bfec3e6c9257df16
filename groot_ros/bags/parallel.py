# SPDX-License-Identifier: Apache-2.0
"""Call a function for many episodes, in local processes (joblib) or on a Dask cluster.

One episode that fails is reported and costs no other. A worker process that dies (killed, out of
memory) costs no episode either: the episodes that it had not finished are called again, and only
one that repeatedly kills its worker is reported as failed. The function can therefore be called
twice for the same episode, and must write its output so that this does no harm.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from tqdm import tqdm

from groot_ros import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Value = TypeVar("Value")

#: s to wait for an answer of the scheduler; between two looks whether it still has workers.
CONNECT_TIMEOUT, _LOOK_EVERY = 10, 15
#: s without any worker of the cluster after which the remaining episodes are given up.
WORKERS_TIMEOUT = 120
#: Errors whose text is meant for users; of others the traceback is shown as well.
_EXPECTED = (ValueError, OSError)


@dataclass(frozen=True)
class EpisodeResult(Generic[Value]):
    """Result of one call.

    Attributes:
        name: of the episode, for messages.
        value: what the function returned; None if it failed.
        error: why it failed, one line; empty if it did not.
        traceback: of an unexpected exception, else empty.

    """

    name: str
    value: Value | None = None
    error: str = ""
    traceback: str = ""

    @property
    def failed(self) -> bool:
        """Return whether the function raised an exception, or its process died."""
        return bool(self.error)


def map_episodes(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    names: Sequence[str] = (),
    label: str = "episodes",
    jobs: int | None = None,
    dask: str = "",
    paths: Sequence[Path] = (),
) -> list[EpisodeResult[Value]]:
    """Call `function` for every item; show progress on stderr, with a line for each failure.

    Args:
        function: called in another process unless `jobs` is 1, so it, its arguments and its values
            are pickled. May be called more than once for an item.
        items: what it is called with.
        names: of the items in messages; by default their texts.
        label: of the progress bar.
        jobs: number of local processes; by default one per CPU. 1 calls in this process.
        dask: address of the scheduler of a Dask cluster, for example tcp://host:8786; `jobs` is
            ignored then. Everyone who can connect to that scheduler can run code on its workers.
        paths: files that all workers of the cluster must see under the same paths.

    Returns:
        One result for each item, in their order.

    Raises:
        ValueError: `jobs` is not positive, or the cluster cannot be used.
        ImportError: the package joblib or distributed is missing.

    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"the number of jobs must be at least 1, not {jobs}")
    names = list(names) if names else [str(item) for item in items]
    call = _Call(function)
    if dask:
        finished = _on_cluster(call, items, names, dask, paths)
    else:
        finished = _in_processes(call, items, names, jobs)
    results: dict[int, EpisodeResult[Value]] = {}
    with tqdm(total=len(items), desc=label, unit="episode", file=sys.stderr, disable=None) as bar:
        for index, result in finished:
            results[index] = result
            bar.update()
            if result.failed:
                bar.write(f"{result.name}: {result.error}\n{result.traceback}".rstrip(), sys.stderr)
            elif bar.disable and len(items) > 1:
                print(f"{label} {len(results)}/{len(items)}: {result.name}", file=sys.stderr)
    return [results[index] for index in range(len(items))]


class _Call(Generic[Item, Value]):
    """The function with its exceptions as values: not every exception can be pickled."""

    def __init__(self, function: Callable[[Item], Value]) -> None:
        self._function = function

    def __call__(self, index: int, name: str, item: Item) -> tuple[int, EpisodeResult[Value]]:
        try:
            return index, EpisodeResult(name, self._function(item))
        except _EXPECTED as error:
            return index, EpisodeResult(name, error=_one_line(error))
        # Reported with its traceback; the other episodes must not be lost with it.
        except Exception as error:
            return index, EpisodeResult(name, None, _one_line(error), traceback.format_exc())


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, _EXPECTED) and text:
        return text
    return f"{type(error).__name__}: {text}".rstrip(": ")


def _in_processes(
    call: _Call[Item, Value], items: Sequence[Item], names: Sequence[str], jobs: int | None
) -> Iterator[tuple[int, EpisodeResult[Value]]]:
    """Yield (index, result) as they finish."""
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky.process_executor import (
        BrokenProcessPool,
        TerminatedWorkerError,
    )

    workers = min(jobs or cpu_count(), len(items))
    remaining = {index: (index, names[index], item) for index, item in enumerate(items)}
    if workers <= 1:
        for arguments in remaining.values():
            yield call(*arguments)
        return
    try:
        parallel = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered")
        for index, result in parallel(delayed(call)(*own) for own in list(remaining.values())):
            del remaining[index]
            yield index, result
    except BrokenProcessPool:
        # One at a time, which tells the episode that kills its process, and needs less memory. Two
        # workers, because joblib calls a single one in this process.
        for index, arguments in remaining.items():
            try:
                yield Parallel(n_jobs=2, backend="loky")([delayed(call)(*arguments)])[0]
            except TerminatedWorkerError:
                yield index, EpisodeResult(names[index], error="its process died (out of memory?)")
            except BrokenProcessPool as error:
                yield index, EpisodeResult(names[index], error=_one_line(error))


def _on_cluster(
    call: _Call[Item, Value],
    items: Sequence[Item],
    names: Sequence[str],
    address: str,
    paths: Sequence[Path],
) -> Iterator[tuple[int, EpisodeResult[Value]]]:
    """Yield (index, result) as they finish; the scheduler moves the work of a dead worker."""
    with _connect(address) as client:
        _check_workers(client, address, paths)
        arguments = [(index, names[index], item) for index, item in enumerate(items)]
        killed = []
        for own, future in _as_completed(client, address, call, arguments):
            if future is not None and future.status == "finished":
                yield future.result()
            elif future is not None and _died_with_a_worker(client, future):
                killed.append(own)
            else:
                yield own[0], EpisodeResult(own[1], error=_cluster_error(future))
        # Episodes that waited on a dead worker are suspected as well as the one that killed it, and
        # those whose result it still had.
        for suspect in killed:
            for (index, name, _), future in _as_completed(client, address, call, [suspect]):
                if future is not None and future.status == "finished":
                    yield future.result()
                else:
                    yield index, EpisodeResult(name, error=_cluster_error(future))


def _as_completed(
    client: "Client",
    address: str,
    call: _Call[Item, Value],
    arguments: Sequence[tuple[int, str, Item]],
) -> "Iterator[tuple[tuple[int, str, Item], Future | None]]":
    """Call with each of these arguments; yield them with their future, whatever became of it.

    The future is None if the call was given up, because the cluster has no workers any more.
    """
    from distributed import wait

    # Not pure: a second call for the same item is a new one, not the remembered result.
    pending = {client.submit(call, *own, pure=False): own for own in arguments}
    alone_since: float | None = None
    try:
        while pending:
            done: set[Future] = set()
            look_every = min(_LOOK_EVERY, WORKERS_TIMEOUT)
            with suppress(TimeoutError):
                done, _ = wait(list(pending), timeout=look_every, return_when="FIRST_COMPLETED")
            for future in done:
                yield pending.pop(future), future
            if done or client.scheduler_info()["workers"]:
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
                tqdm.write(
                    f"{address} has lost all workers: waiting {WORKERS_TIMEOUT} s for one",
                    sys.stderr,
                )
            elif time.monotonic() - alone_since >= WORKERS_TIMEOUT:
                for own in pending.values():
                    yield own, None
                return
    finally:
        client.cancel(list(pending))


def _is_killed(future: "Future") -> bool:
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _died_with_a_worker(client: "Client", future: "Future") -> bool:
    """Return whether a worker died with the call or its result, while the scheduler goes on."""
    return _is_killed(future) or (future.status == "lost" and client.status == "running")


def _cluster_error(future: "Future | None") -> str:
    """Return why a call has no result: its workers died, or the scheduler did."""
    if future is None:
        return f"the cluster had no worker for {WORKERS_TIMEOUT} s: start one, then try again"
    if _is_killed(future):
        return "every worker that was given it died (out of memory?)"
    if future.status == "error":
        return _one_line(future.exception())
    return f"the scheduler has lost it ({future.status}): was it stopped?"


def _connect(address: str) -> "Client":
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"no Dask scheduler at '{address}' ({_one_line(error)}): start one with "
            "'dask scheduler', and give its address, for example tcp://127.0.0.1:8786"
        ) from error


def _worker_facts(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """Return the version of this package on a worker, and the paths that it does not have."""
    return __version__, [str(path) for path in paths if not path.exists()]


def _check_workers(client: "Client", address: str, paths: Sequence[Path]) -> None:
    """Raise ValueError if the cluster has no workers, or one that lacks the package or a file."""
    try:
        # A worker that was just killed may be starting again.
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT)
    except TimeoutError as error:
        raise ValueError(
            f"{address} has no workers: start some with 'dask worker {address}'"
        ) from error
    facts = client.run(_worker_facts, [path.absolute() for path in paths], on_error="return")
    for worker, answer in facts.items():
        if isinstance(answer, BaseException):
            raise ValueError(
                f"worker {worker} cannot run groot_ros ({_one_line(answer)}): install the same "
                f"version there, {__version__}"
            )
        version, missing = answer
        if version != __version__:
            raise ValueError(
                f"worker {worker} has groot_ros {version}, but this is {__version__}: install the "
                "same version on both"
            )
        if missing:
            raise ValueError(
                f"worker {worker} has no {missing[0]}: all workers must see the same files under "
                "the same paths, as on a shared file system"
            )
