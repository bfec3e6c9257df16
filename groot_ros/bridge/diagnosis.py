"""What is wrong and why, in words, for /diagnostics.

A diagnosis compares each report with the one before it: an old rejection is no present fault.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State

from groot_ros.core import ExecutorState, ExecutorStatus
from groot_ros.msg import PolicyStatus
from groot_ros.observation.rejections import EXPECTED_REJECTIONS

#: Rejections that somebody must mend; others may be over with the next chunk.
_FAULTS = {
    "second_policy",
    "second_executor",
    "no_joint_state",
    "stale_joint_state",
    "invalid_joint_state",
    "clock_skew",
    "cannot_stop",
    "needs_resume",
    "inference_error",
    "internal_error",
}
#: rad or m between consecutive chunks that is worth a warning.
_LARGE_SEAM = 0.1
#: Share of the wanted rate that is worth a warning.
_SLOW = 0.8


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; `level` is one of DiagnosticStatus."""

    level: bytes
    words: str


class ExecutorDiagnosis:
    """Of consecutive executor states."""

    def __init__(self, name: str) -> None:
        self._name = f"{name}: motion"
        self._before: ExecutorState | None = None

    def status(self, state: ExecutorState, faults: Sequence[str] = ()) -> DiagnosticStatus:
        """OK, WARN or ERROR with the cause, and the figures.

        `faults` are errors that are not seen in the motion.
        """
        before, self._before = self._before, state
        rejected = _new(state.rejections, {} if before is None else before.rejections)
        underrun = state.underruns - (before.underruns if before else 0)
        hits = [
            joint
            for i, joint in enumerate(state.joint_names)
            if state.limited_chunks[i] > (before.limited_chunks[i] if before else 0)
        ]
        accepted = state.accepted - (before.accepted if before else 0)
        seam, joint = max(
            zip(map(abs, state.splice_discontinuity), state.joint_names, strict=True),
            default=(0.0, ""),
        )
        findings = [Finding(DiagnosticStatus.ERROR, fault) for fault in faults]
        findings += [f for f in _stopped(state) if f.words not in faults]
        findings += _rejected(rejected)
        if underrun > 0:
            findings.append(Finding(DiagnosticStatus.WARN, "no chunk came in time"))
        if hits:
            findings.append(
                Finding(DiagnosticStatus.WARN, f"limits changed chunks of {', '.join(hits)}")
            )
        if accepted and seam > _LARGE_SEAM:
            words = f"consecutive chunks disagree by {seam:.2f} at {joint}"
            findings.append(Finding(DiagnosticStatus.WARN, words))
        figures = {
            "status": state.status.name,
            "reason": state.reason,
            "chunk age": f"{state.chunk_age:.3f} s",
            "time to tail": f"{state.time_until_braking:.3f} s",
            "seam jump": f"{seam:.4f} ({joint})",
            "received": str(state.received),
            "accepted": str(state.accepted),
            "underruns": str(state.underruns),
            "limit hits": str(sum(state.limited_chunks)),
            **{f"rejected {reason}": str(count) for reason, count in state.rejections.items()},
        }
        return _judged(self._name, findings, state.reason, figures)


class PolicyDiagnosis:
    """Of consecutive policy states."""

    def __init__(self, name: str) -> None:
        self._name = f"{name}: inference"
        self._rejections: dict[str, int] = {}

    def status(self, msg: PolicyStatus, max_image_age: float) -> DiagnosticStatus:
        """OK, WARN or ERROR with the cause, and the figures."""
        counts = dict(zip(msg.rejection_reasons, msg.rejection_counts, strict=True))
        rejected, self._rejections = _new(counts, self._rejections), counts
        active = msg.lifecycle == State.PRIMARY_STATE_ACTIVE
        latency = sum(msg.p95)
        findings = _rejected(rejected)
        if active:
            findings += _late(msg, max_image_age)
        figures = {
            "rate": f"{msg.rate:.2f} of {msg.rate_wanted:.2f} Hz",
            "latency p50": f"{1e3 * sum(msg.p50):.1f} ms",
            "latency p95": f"{1e3 * latency:.1f} ms",
            "budget": f"d {msg.d} <= s {msg.s} <= {msg.horizon} - d",
            **{
                f"age of {name}": f"{age:.3f} s"
                for name, age in zip(msg.inputs, msg.age, strict=True)
            },
            **{
                f"rate of {name}": f"{rate:.1f} of {wanted:.1f} Hz"
                for name, rate, wanted in zip(
                    msg.inputs, msg.rate_in, msg.rate_expected, strict=True
                )
            },
            "engine": f"{msg.engine} on {msg.device}",
            **{f"rejected {reason}": str(count) for reason, count in counts.items()},
        }
        well = f"{msg.rate:.1f} chunks/s, {1e3 * latency:.0f} ms" if active else "not active"
        return _judged(self._name, findings, well, figures)


def _stopped(state: ExecutorState) -> list[Finding]:
    if state.status == ExecutorStatus.ESTOPPED:
        return [Finding(DiagnosticStatus.ERROR, state.reason)]
    if state.status == ExecutorStatus.HOLDING and not state.hold:
        level = DiagnosticStatus.ERROR if state.latched else DiagnosticStatus.WARN
        return [Finding(level, state.reason)]
    if state.status == ExecutorStatus.BRAKING:
        return [Finding(DiagnosticStatus.WARN, state.reason)]
    return []


def _late(msg: PolicyStatus, max_image_age: float) -> list[Finding]:
    found = []
    if msg.d > 0 and not msg.within_budget:
        words = (
            f"too slow for its horizon: a chunk is {msg.d} steps late and lasts {msg.s} of "
            f"{msg.horizon}"
        )
        found.append(Finding(DiagnosticStatus.WARN, words))
    if 0.0 < msg.rate < _SLOW * msg.rate_wanted:
        words = f"{msg.rate:.1f} chunks/s where {msg.rate_wanted:.1f} are wanted"
        found.append(Finding(DiagnosticStatus.WARN, words))
    for name, age, count in zip(msg.inputs, msg.age, msg.input_count, strict=True):
        if age < 0.0 and count > 0:
            words = f"nothing usable among {count} messages from {name}"
            found.append(Finding(DiagnosticStatus.ERROR, words))
        elif age < 0.0:
            found.append(Finding(DiagnosticStatus.ERROR, f"nothing received from {name}"))
        elif age > max_image_age:
            found.append(Finding(DiagnosticStatus.ERROR, f"{name} is {age:.1f} s old"))
    return found


def _rejected(counts: Mapping[str, int]) -> list[Finding]:
    return [
        Finding(
            DiagnosticStatus.ERROR if reason in _FAULTS else DiagnosticStatus.WARN,
            f"rejected {count} times: {reason}",
        )
        for reason, count in counts.items()
        if reason not in EXPECTED_REJECTIONS
    ]


def _new(counts: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was counted since; all of it when the counter began anew."""
    since = {}
    for reason, count in counts.items():
        old = before.get(reason, 0)
        if count != old:
            since[reason] = count - old if count > old else count
    return since


def _judged(
    name: str, findings: Sequence[Finding], well: str, figures: Mapping[str, str]
) -> DiagnosticStatus:
    """The worst first; what is worth an error comes before what is worth a warning."""
    ordered = sorted(findings, key=lambda finding: finding.level, reverse=True)
    return DiagnosticStatus(
        level=ordered[0].level if ordered else DiagnosticStatus.OK,
        name=name,
        message="; ".join(finding.words for finding in ordered) or well,
        values=[KeyValue(key=key, value=value) for key, value in figures.items()],
    )
