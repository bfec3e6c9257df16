# SPDX-License-Identifier: Apache-2.0
"""Images and joint positions of a bag, ordered by stamp."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags import BagError
from groot_ros.core import NS_PER_S, ns_to_s
from groot_ros.robot import Camera

#: A stamp further behind the newest one of its stream than this comes from a clock that was reset.
#: Less than that is jitter, or messages waited in queues of different length: the sample is left
#: out, as in the live buffers.
RESET_STEP_NS = NS_PER_S


class OrderedStamps:
    """Check that the stamps of one stream increase, and count the samples that are left out.

    Args:
        what: the stream, for messages, such as "camera 'front'".

    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.left_out = 0
        self._newest: int | None = None

    def accepts(self, stamp_ns: int, since_start_s: float) -> bool:
        """Return whether a sample is newer than the ones before it.

        Raises:
            BagError: its clock was reset.

        """
        if self._newest is None or stamp_ns > self._newest:
            self._newest = stamp_ns
            return True
        behind = self._newest - stamp_ns
        if behind > RESET_STEP_NS:
            raise BagError(
                f"the stamps of {self.what} go back by {ns_to_s(behind):.3f} s, "
                f"{since_start_s:.3f} s after the start of the bag: its clock was reset; record "
                "again, or split the bag there"
            )
        self.left_out += 1
        return False

    def repair(self) -> str:
        """Return a line about the samples that were left out, or an empty string."""
        if not self.left_out:
            return ""
        return f"{self.what}: left out {self.left_out} samples whose stamps repeat or go back"


@dataclass(frozen=True)
class ImageStream:
    """The images of one camera; `RobotBag.frames` decodes them.

    Attributes:
        view: name of the camera in the contract.
        stamps_ns: int64 [N], strictly ascending: time of exposure, from the header or the
            reception as the contract states, minus its latency.
        headers_ns: int64 [N], stamps in the headers.
        received_ns: int64 [N], stamps of the bag.

    """

    view: str
    camera: Camera
    stamps_ns: NDArray[np.int64]
    headers_ns: NDArray[np.int64]
    received_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def newest_at(self, stamp_ns: int) -> int | None:
        """Return the index of the last image at or before a time; None before the first."""
        index = int(np.searchsorted(self.stamps_ns, stamp_ns, side="right")) - 1
        return index if index >= 0 else None

    def nearest(self, stamp_ns: int) -> int:
        """Return the index of the nearest image, the older of two equally near."""
        index = bisect_left(self.stamps_ns, stamp_ns)
        near = range(max(index - 1, 0), min(index + 1, len(self)))
        return min(near, key=lambda i: abs(int(self.stamps_ns[i]) - stamp_ns))


@dataclass(frozen=True)
class JointSamples:
    """Samples of joints over time; each joint has its own stamps.

    Attributes:
        stamps_ns: joint -> int64 [N], strictly ascending.
        positions: joint -> float64 [N], rad or m.
        continuous: joints that turn without end: interpolated the shorter way round.

    """

    stamps_ns: Mapping[str, NDArray[np.int64]]
    positions: Mapping[str, NDArray[np.float64]]
    continuous: frozenset[str] = field(default=frozenset())

    @property
    def joints(self) -> tuple[str, ...]:
        """Return the joints that have samples."""
        return tuple(self.stamps_ns)

    def at(self, joint: str, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return positions [T] at these times, interpolated linearly; NaN outside the samples.

        Raises:
            KeyError: the joint has no samples.

        """
        stamps, values = self.stamps_ns[joint], self.positions[joint]
        if joint in self.continuous:
            values = np.unwrap(values)
        return interpolate(stamps, values, times_ns)

    def gap_at(self, joint: str, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [T]: s from the sample before each time to the one after it; inf outside."""
        stamps = self.stamps_ns[joint]
        after = np.searchsorted(stamps, times_ns, side="left")
        gaps = np.full(len(times_ns), np.inf)
        inside = (after > 0) & (after < len(stamps))
        gaps[inside] = (stamps[after[inside]] - stamps[after[inside] - 1]) / NS_PER_S
        exact = np.isin(times_ns, stamps)
        gaps[exact] = 0.0
        return gaps


def interpolate(
    stamps_ns: NDArray[np.int64], values: NDArray[np.float64], times_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Interpolate linearly between samples; NaN before the first and after the last.

    Args:
        stamps_ns: [N], ascending.
        values: [N].
        times_ns: [T].

    """
    times = np.asarray(times_ns, dtype=np.int64)
    if not len(stamps_ns):
        return np.full(len(times), np.nan)
    # Offsets from the first stamp are exact in float64, absolute times in ns are not.
    origin = stamps_ns[0]
    offsets, due = (stamps_ns - origin).astype(np.float64), (times - origin).astype(np.float64)
    return np.interp(due, offsets, values, left=np.nan, right=np.nan)
