# SPDX-License-Identifier: Apache-2.0
"""Images and states that the live node would use at given times, chosen by its own code."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.recording import RobotBag
from groot_ros.core import s_to_ns
from groot_ros.observation.image_buffer import ImageBuffer
from groot_ros.observation.joint_buffer import JointBuffer
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import SyncTolerances


@dataclass(frozen=True)
class LiveChoice:
    """Inputs of the observation at one time.

    Attributes:
        images: view -> index into its ImageStream; empty if there is no observation.
        positions: joint -> rad or m, at the stamp of the oldest image.
        reason: why there is no observation; the same text for all times of one gap.

    """

    images: dict[str, int]
    positions: dict[str, float]
    reason: str = ""


def live_choices(
    bag: RobotBag,
    joints: Collection[str],
    tolerances: SyncTolerances,
    times: NDArray[np.int64],
) -> Iterator[LiveChoice]:
    """Yield the choice at each time.

    Args:
        bag: read completely.
        joints: whose positions are needed.
        tolerances: as of the policy node.
        times: ascending, ns.

    """
    contract = bag.contract
    gap = s_to_ns(tolerances.max_state_gap)
    images = ImageBuffer(bag.cameras, (0,), s_to_ns(contract.action_dt), tolerances)
    buffer = JointBuffer(
        contract.sources,
        joints,
        2 * gap + s_to_ns(tolerances.max_image_age + tolerances.max_image_skew),
        bag.joints.continuous,
    )
    frames = {view: _Feed(stream.stamps_ns) for view, stream in bag.images.items()}
    samples = list(_joint_feeds(bag, joints))
    for time in times.tolist():
        for view, feed in frames.items():
            for _, stamp in feed.until(time):
                images.add_frame(view, stamp, _no_pixels)
        # Beyond t_obs, to interpolate there; the live node infers a little later than t_obs too.
        for topic, names, values, feed in samples:
            for index, stamp in feed.until(time + gap):
                buffer.add_joint_state(topic, stamp, names, values[index])
        try:
            stamps = {view: own[-1] for view, own in images.select(time, tolerances).items()}
            positions, _ = buffer.interpolate(min(stamps.values()), gap)
        except Rejected as rejection:
            yield LiveChoice({}, {}, _without_age(rejection))
            continue
        chosen = {
            view: int(np.searchsorted(bag.images[view].stamps_ns, stamp))
            for view, stamp in stamps.items()
        }
        yield LiveChoice(chosen, positions)


class _Feed:
    """Position in a stream whose samples are added in the order of their stamps."""

    def __init__(self, stamps: NDArray[np.int64]) -> None:
        self._stamps = stamps
        self._next = 0

    def until(self, time_ns: int) -> Iterator[tuple[int, int]]:
        """Yield (index, stamp) of the samples up to a time that were not yielded before."""
        end = int(np.searchsorted(self._stamps, time_ns, side="right"))
        for index in range(self._next, end):
            yield index, int(self._stamps[index])
        self._next = max(self._next, end)


def _joint_feeds(
    bag: RobotBag, wanted: Collection[str]
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[float]], _Feed]]:
    """Yield (topic, joints, their positions by sample, feed) for joints with the same stamps."""
    for source in bag.contract.sources:
        groups: dict[bytes, list[str]] = {}
        for joint in source.joints:
            if joint in wanted:
                groups.setdefault(bag.joints.stamps_ns[joint].tobytes(), []).append(joint)
        for names in groups.values():
            values = np.stack([bag.joints.positions[j] for j in names], axis=1).tolist()
            yield source.topic, names, values, _Feed(bag.joints.stamps_ns[names[0]])


def _no_pixels() -> NDArray[np.uint8]:
    raise NotImplementedError("rows are chosen by stamps; RobotBag.frames decodes the images")


def _without_age(rejection: Rejected) -> str:
    """Return the reason without figures, so that rows of one gap have the same."""
    texts = {
        "missing_image": f"no image of camera '{rejection.source}'",
        "stale_image": f"no image of camera '{rejection.source}' for more than max_image_age",
        "skewed_images": f"camera '{rejection.source}' is behind by more than max_image_skew",
        "missing_joint_state": "no joint states",
        "stale_joint_state": "no joint states within max_state_gap of the images",
    }
    return texts.get(rejection.reason, str(rejection))
