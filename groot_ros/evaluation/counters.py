# SPDX-License-Identifier: Apache-2.0
"""Increase of the nodes' counters during a recording; nodes count since they were configured."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class CounterIncrease:
    """Sum of the increase of named counters over consecutive readings.

    The first reading is the start. A name that appears later counts from 0, and so does a counter
    that became smaller, because its node was configured again.

    Attributes:
        total: name -> increase, without names that did not increase.

    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._last: dict[str, int] | None = None

    @property
    def names(self) -> Collection[str]:
        """Return the names in the last reading; none before the first."""
        return (self._last or {}).keys()

    def read(self, values: Mapping[str, int]) -> Counter[str]:
        """Take the next reading; return name -> increase since the one before."""
        increase: Counter[str] = Counter()
        if self._last is not None:
            for name, value in values.items():
                before = self._last.get(name, 0)
                if value != before:
                    increase[name] = value - before if value > before else value
        self.total += increase
        self._last = dict(values)
        return increase


@dataclass
class RunCounts:
    """Counts of policy and executor during a recording.

    Attributes:
        chunks: "accepted" and "underruns" of the executor.
        limited: joint -> chunks that a limit changed.
        chunks_rejected, observations_rejected: rejection code -> count.

    """

    chunks: CounterIncrease = field(default_factory=CounterIncrease)
    limited: CounterIncrease = field(default_factory=CounterIncrease)
    chunks_rejected: CounterIncrease = field(default_factory=CounterIncrease)
    observations_rejected: CounterIncrease = field(default_factory=CounterIncrease)

    def read_executor(self, state: Any) -> Counter[str]:
        """Take an ExecutorState message; return code -> chunks rejected since the last one."""
        self.chunks.read({"accepted": state.accepted, "underruns": state.underruns})
        pairs = zip(state.joint_names, state.limited_chunks, strict=False)
        self.limited.read({joint: int(count) for joint, count in pairs})
        return self.chunks_rejected.read(_by_code(state.rejections))

    def read_policy(self, status: Any) -> Counter[str]:
        """Take a PolicyStatus message; return code -> observations rejected since the last one."""
        return self.observations_rejected.read(_by_code(status.rejections))


def _by_code(rejections: Iterable[Any]) -> dict[str, int]:
    return {rejection.code: rejection.count for rejection in rejections}
