# SPDX-License-Identifier: Apache-2.0
"""Observations of a bag, assembled by the code of the live node.

`observe` asks the buffer of the live node for an observation in each interval of a bag.
`chunk_observations` rebuilds the observations of the chunks that a policy published: exactly the
inputs that a chunk states are put into an empty buffer.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from groot_ros.bags.collector import BagInput, RecordedChunk
from groot_ros.bags.recording import RobotBag
from groot_ros.core import NS_PER_S, MalformedError, Observation, StampedInput, s_to_ns
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.received import add_image_message, add_joint_state_message
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances

#: Inputs of a chunk that the recorder receives this much later than the chunk are still found, ns.
_RECORDER_DELAY_NS = NS_PER_S
#: For the exact inputs of a chunk: nothing is too old and nothing too far apart, s.
_ANY_AGE = 3600.0


@dataclass(frozen=True)
class Place:
    """One interval of a recording.

    Attributes:
        number: of the interval, from 0.
        since_start: s from the start of the bag to the observation, or to the interval's begin.
        observation: None if there was none in the interval.
        reason, detail: why there was none; as of the last attempt.

    """

    number: int
    since_start: float
    observation: Observation | None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class ChunkObservation:
    """A recorded chunk and its observation.

    Attributes:
        observation: None if the inputs of the chunk are not in the bag.
        reason: code of why they are not.

    """

    recorded: RecordedChunk
    observation: Observation | None
    reason: str = ""


def observe(
    bag: RobotBag,
    spec: ObservationSpec,
    tolerances: SyncTolerances,
    *,
    interval: float,
    instruction: str | None = None,
) -> Iterator[Place]:
    """Yield the intervals of a bag in their order.

    In each one the buffer of the live node is asked after every message until it gives an
    observation. Intervals are counted from the first observation; a bag that gives none at all is
    one place without an observation.

    Args:
        bag: its streams are complete afterwards.
        spec: the inputs that the policy needs.
        tolerances: as those of the live node.
        interval: s between observations.
        instruction: replaces the instructions of the bag.

    Raises:
        BagError: as RobotBag.stream().

    """
    buffer = ObservationBuffer(bag.contract, spec, tolerances)
    interval_ns = s_to_ns(interval)
    first: int | None = None
    number, last_ns = 0, bag.contents.start_ns
    reason, detail = "no_inputs", "no image and no joint state in the bag"

    def gaps(begin: int, end: int) -> Iterator[Place]:
        for missing in range(begin, end):
            since = bag.since_start((first or 0) + missing * interval_ns)
            yield Place(missing, since, None, reason, detail)

    for item in bag.stream():
        last_ns = item.received_ns
        try:
            if item.image:
                buffer.record_image(item.name, last_ns)
            _add(buffer, item)
            if first is not None and last_ns < first + number * interval_ns:
                continue
            text = _instruction_at(bag, last_ns) if instruction is None else instruction
            observation = buffer.snapshot(last_ns, text)
        except (Rejected, MalformedError) as rejection:
            reason, detail = rejection.reason, rejection.detail
            continue
        first = last_ns if first is None else first
        current = (last_ns - first) // interval_ns
        yield from gaps(number, current)
        yield Place(current, bag.since_start(observation.stamp_ns), observation)
        number = current + 1
    if first is None:
        yield Place(0, 0.0, None, reason, detail)
    else:
        yield from gaps(number, (last_ns - first) // interval_ns)


def chunk_observations(bag: RobotBag, spec: ObservationSpec) -> Iterator[ChunkObservation]:
    """Yield the chunks of a bag that was read, each with the observation that it states.

    Args:
        bag: after `read()`, whose chunks are known.
        spec: the inputs that the policy needs.

    Raises:
        BagError: as RobotBag.stream().

    """
    chunks = list(bag.chunks)
    inputs = _NeededInputs(bag, chunks)
    following = 0
    for item in bag.stream():
        inputs.add_input(item)
        while following < len(chunks) and (
            inputs.has_all(chunks[following])
            or item.received_ns > chunks[following].received_ns + _RECORDER_DELAY_NS
        ):
            yield _rebuilt(bag, spec, chunks[following], inputs)
            inputs.release(chunks[following])
            following += 1
    for recorded in chunks[following:]:
        yield _rebuilt(bag, spec, recorded, inputs)


def _add(buffer: ObservationBuffer, item: BagInput) -> None:
    """Add a message as the live node does; raises as add_image_message and its sibling."""
    add = add_image_message if item.image else add_joint_state_message
    add(buffer, item.name, item.message(), item.received_ns)


def _instruction_at(bag: RobotBag, now_ns: int) -> str:
    """Return the instruction that is followed at a time; what the operator stated before any."""
    given = bag.instructions
    index = bisect_right(given, now_ns, key=lambda each: each[0])
    return given[index - 1][1] if index else bag.episode.instruction


def _rebuilt(
    bag: RobotBag, spec: ObservationSpec, recorded: RecordedChunk, inputs: "_NeededInputs"
) -> ChunkObservation:
    """Rebuild the observation of a chunk from the inputs that it states."""
    chunk = recorded.chunk
    if not chunk.inputs:
        return ChunkObservation(recorded, None, "no_inputs_stated")
    tolerances = SyncTolerances(_ANY_AGE, _ANY_AGE, _ANY_AGE, _ANY_AGE)
    buffer = ObservationBuffer(bag.contract, spec, tolerances)
    try:
        for each in sorted(chunk.inputs, key=lambda each: each.stamp_ns):
            item = inputs.find(each)
            if item is None:
                kind = "image" if each.name in bag.cameras else "joint_state"
                return ChunkObservation(recorded, None, f"{kind}_not_recorded")
            _add(buffer, item)
        newest = max(each.stamp_ns for each in chunk.inputs)
        observation = buffer.snapshot(newest, chunk.instruction)
    except (Rejected, MalformedError) as rejection:
        return ChunkObservation(recorded, None, rejection.reason)
    if observation.inputs != chunk.inputs:
        return ChunkObservation(recorded, None, "other_inputs")
    return ChunkObservation(recorded, observation)


class _NeededInputs:
    """The messages that chunks state as their inputs, until the last chunk that needs them."""

    def __init__(self, bag: RobotBag, chunks: list[RecordedChunk]) -> None:
        self._cameras = bag.cameras
        self._sources = {source.topic: source for source in bag.contract.sources}
        self._uses = Counter(each for own in chunks for each in set(own.chunk.inputs))
        self._items: dict[StampedInput, BagInput] = {}

    def add_input(self, item: BagInput) -> None:
        """Keep a message if a chunk needs it; the first of repeated stamps, as the live buffers."""
        origin = self._cameras[item.name] if item.image else self._sources[item.name]
        # The time of arrival at the policy is not in the bag, only that at the recorder.
        if origin.stamp == "header":
            stated = StampedInput(item.name, item.header_ns - origin.latency_ns)
            if self._uses.get(stated):
                self._items.setdefault(stated, item)

    def has_all(self, recorded: RecordedChunk) -> bool:
        """Return whether all inputs of a chunk are there."""
        return all(each in self._items for each in recorded.chunk.inputs)

    def find(self, stated: StampedInput) -> BagInput | None:
        """Return the message; None if it was not recorded."""
        return self._items.get(stated)

    def release(self, recorded: RecordedChunk) -> None:
        """Forget the messages that only this chunk still needed."""
        for each in set(recorded.chunk.inputs):
            self._uses[each] -= 1
            if not self._uses[each]:
                self._items.pop(each, None)
