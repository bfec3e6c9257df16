# SPDX-License-Identifier: Apache-2.0
"""Evidence that two live publishers send the same input, from the messages alone.

rclpy does not say which publisher sent a message. Two publishers show in the messages all the same:

- Each publisher numbers its messages (`publication_sequence_number`, not in Humble). The numbers of
  one publisher only grow. Those of two that are both alive form two series that alternate: the
  numbers fall again and again, with little time between the messages. The numbers also fall after
  the restart of a driver, but a restart takes time.
- Without numbers, messages arrive at 1.5 times the rate of the robot contract or more.

A driver that died stays in the graph for a while, so the graph alone is no evidence; and messages
alone are none either, so the nodes also require two publishers in the graph
(`bridge/competing_inputs.py`).
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from groot_ros.core import NS_PER_S

#: How long evidence lasts, ns: publishers are in conflict while it is younger than this.
EVIDENCE_NS = NS_PER_S
#: How long a series may pause and still continue, ns.
_MEMORY_NS = 2 * NS_PER_S
#: The shortest time without messages when a driver is restarted, ns.
_RESTART_NS = NS_PER_S // 5
#: Received share of the contract's rate that two publishers exceed and one does not.
_EXCESS = 1.5
#: ns over which the received rate is measured, and the same for inputs of `_FAST` Hz or more. The
#: messages that a subscription queues during a stall must be fewer than half of those in it.
_RATE_WINDOW_NS = NS_PER_S
_FAST_RATE_WINDOW_NS = NS_PER_S // 2
_FAST = 30.0
#: ns within which one instruction, another and the first again are two publishers.
INSTRUCTION_WINDOW_NS = 3 * NS_PER_S


@dataclass(slots=True)
class _Series:
    """Numbers that seem to come from one publisher: the last one and its time, ns."""

    number: int
    received_ns: int
    #: When the numbers last fell from those of another series to this one, ns.
    fell_back_ns: int | None = None


class NumberSeries:
    """Sort publication numbers into series, one for each publisher that is alive."""

    def __init__(self) -> None:
        #: The series of the newest message last.
        self._series: list[_Series] = []

    def record_number(self, number: int, now_ns: int) -> bool:
        """Record the number of a message; return whether two series alternate.

        They do if the numbers twice fall back to the same series within 2 s, each time less than
        0.2 s after the message before. The restart of a driver takes longer, and between two
        restarts numbers only grow, so restarts are never taken for a second publisher, however
        many messages are lost. Two publishers below 5 Hz may not be noticed.
        """
        series = self._series
        if not series:
            series.append(_Series(number, now_ns))
            return False
        newest = series[-1]
        last_number, last_ns = newest.number, newest.received_ns
        if number == last_number + 1 or (len(series) == 1 and number > last_number):
            newest.number, newest.received_ns = number, now_ns
            return False
        if len(series) > 1 or now_ns - last_ns > _MEMORY_NS:
            series[:] = [own for own in series if now_ns - own.received_ns <= _MEMORY_NS]
        candidates = [own for own in series if own.number < number]
        if not candidates:
            series.append(_Series(number, now_ns))
            return False
        chosen = max(reversed(candidates), key=lambda own: own.number)
        series.remove(chosen)
        series.append(chosen)
        chosen.number, chosen.received_ns = number, now_ns
        if number > last_number or now_ns - last_ns >= _RESTART_NS:
            return False
        before_ns, chosen.fell_back_ns = chosen.fell_back_ns, now_ns
        return before_ns is not None and now_ns - before_ns <= _MEMORY_NS


class ExcessRate:
    """Compare the rate of reception with that of the robot contract.

    Args:
        expected_rate: Hz; 0 = not stated, then nothing is detected.

    """

    def __init__(self, expected_rate: float) -> None:
        self._window_ns = _FAST_RATE_WINDOW_NS if expected_rate >= _FAST else _RATE_WINDOW_NS
        self._limit = _EXCESS * expected_rate * self._window_ns / NS_PER_S
        self._arrivals: deque[int] = deque()

    def record_arrival(self, now_ns: int) -> bool:
        """Record a message; return whether too many were received lately."""
        if self._limit <= 0.0:
            return False
        arrivals = self._arrivals
        arrivals.append(now_ns)
        while now_ns - arrivals[0] > self._window_ns:
            arrivals.popleft()
        return len(arrivals) >= self._limit


class CompetingPublishers:
    """Evidence of competing publishers of one input, for each of its parts.

    Args:
        parts: joints of a joint state topic, as two drivers with other joints may share it; one
            name for an input without parts.
        expected_rate: Hz according to the robot contract, 0 = not stated.

    """

    def __init__(self, parts: Iterable[str], expected_rate: float) -> None:
        self._numbers = {part: NumberSeries() for part in parts}
        self._rates: Mapping[str, ExcessRate] = {
            part: ExcessRate(expected_rate) for part in self._numbers
        }
        self._evidence_ns: dict[str, int] = {}

    def record_message(self, parts: Sequence[str], number: int | None, now_ns: int) -> None:
        """Record a message with these parts; `number` is None where rclpy does not give it."""
        for part in parts:
            numbers = self._numbers.get(part)
            if numbers is None:
                continue
            if number is None:
                found = self._rates[part].record_arrival(now_ns)
            else:
                found = numbers.record_number(number, now_ns)
            if found:
                self._evidence_ns[part] = now_ns

    def contested(self, now_ns: int) -> tuple[str, ...]:
        """Return the parts for which there was evidence in the last second."""
        if not self._evidence_ns:
            return ()
        for part, at in list(self._evidence_ns.items()):
            if now_ns - at > EVIDENCE_NS:
                del self._evidence_ns[part]
        return tuple(part for part in self._numbers if part in self._evidence_ns)


class AlternatingInstructions:
    """Detect two publishers that disagree on the instruction: A, B, A within 3 s.

    One publisher may send the same three texts, which its numbers show: they grow.
    """

    def __init__(self) -> None:
        self._given: deque[tuple[str, int | None, int]] = deque(maxlen=3)
        self._evidence_ns: int | None = None

    def record_instruction(self, text: str, number: int | None, now_ns: int) -> None:
        """Record an instruction as it was received on one subscription."""
        given = self._given
        if given and given[-1][0] == text:
            # Repeated by its publisher: it is alive now.
            if number is None or given[-1][1] is None or number > given[-1][1]:
                given[-1] = (text, number, now_ns)
            return
        given.append((text, number, now_ns))
        if len(given) < 3:
            return
        numbers = [own[1] for own in given if own[1] is not None]
        grows = len(numbers) == 3 and numbers[0] < numbers[1] < numbers[2]
        back = given[0][0] == given[2][0]
        if back and not grows and now_ns - given[0][2] <= INSTRUCTION_WINDOW_NS:
            self._evidence_ns = now_ns

    def contested(self, now_ns: int) -> bool:
        """Return whether two publishers disagreed in the last 3 s."""
        at = self._evidence_ns
        return at is not None and now_ns - at <= INSTRUCTION_WINDOW_NS
