# SPDX-License-Identifier: Apache-2.0
"""Diagnostic status of executor and policy for /diagnostics: level, cause and values.

Each status is compared with the previous one: only what was counted since then is a fault.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State
from rclpy.node import Node

from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import ExecutorState, ExecutorStatus, ReasonCode
from groot_ros.msg import CameraShift, PolicyStatus
from groot_ros.observation.rejections import EXPECTED_REJECTIONS

#: Codes of rejections that need an action of the operator; others may end with the next chunk.
_FAULTS = {
    "second_policy",
    "second_executor",
    "competing_publishers",
    "played_instruction",
    "no_joint_state",
    "stale_joint_state",
    "invalid_joint_state",
    "clock_skew",
    "cannot_stop",
    "controller_inactive",
    "needs_resume",
    "inference_error",
    "internal_error",
}
#: Reasons for which the robot stands still because it was asked to.
_REQUESTED = {
    ReasonCode.OPERATOR_HOLD,
    ReasonCode.NO_INSTRUCTION,
    ReasonCode.INSTRUCTION_CHANGED,
    ReasonCode.RELEASED,
    ReasonCode.RESUMED,
    ReasonCode.RESET,
    ReasonCode.STEP_DONE,
    ReasonCode.DEACTIVATED,
}
#: rad or m between consecutive chunks that gives a warning.
_LARGE_DISCONTINUITY = 0.1
#: rad or m between a chunk and the motion within limits that gives a warning. Almost every chunk
#: has steps that exceed an acceleration limit; smoothing them changes the motion by much less.
_LARGE_LIMIT_DEVIATION = 0.1
#: A measured rate below or above these shares of the configured one gives a warning.
_SLOW, _FAST = 0.8, 1.5


#: Number of consecutive diagnoses with a problem after which it is logged.
_LASTING = 3


def diagnostic_array(
    node: Node, hardware: str, stamp_ns: int, statuses: Sequence[DiagnosticStatus]
) -> DiagnosticArray:
    """Return the statuses as a message, each with a hardware id: namespace and robot.

    `hardware` is the name of the robot; the name of the node before it is known.
    """
    namespace = node.get_namespace().strip("/")
    for status in statuses:
        name = hardware or node.get_name()
        status.hardware_id = f"{namespace}/{name}" if namespace else name
    msg = DiagnosticArray(status=list(statuses))
    msg.header.stamp = ns_to_time(stamp_ns)
    return msg


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        level: one of DiagnosticStatus.
        text: what is wrong.
        code: name of a problem that may last without any other sign; it is logged once.
        remedy: how to fix it, for the log.

    """

    level: bytes
    text: str
    code: str = ""
    remedy: str = ""


class LastingProblems:
    """Selects the problems to log: each code once, when it has lasted for some diagnoses."""

    def __init__(self) -> None:
        self._lasted: Counter[str] = Counter()
        self._logged: set[str] = set()

    def record(self, findings: Sequence[Finding]) -> tuple[str, ...]:
        """Record the findings of one diagnosis; return the lines to log now."""
        present = {finding.code: finding for finding in findings if finding.code}
        self._lasted = Counter({code: self._lasted[code] + 1 for code in present})
        due = {c for c, count in self._lasted.items() if count >= _LASTING} - self._logged
        self._logged |= due
        return tuple(f"{f.text}: {f.remedy}" for code, f in present.items() if code in due)

    def reset(self) -> None:
        """Log every problem again when it has lasted again."""
        self._lasted.clear()
        self._logged.clear()


class ExecutorDiagnosis:
    """Diagnostic status of consecutive executor states.

    Attributes:
        to_log: problems that have lasted for some time, which the last status is the first to tell.

    """

    def __init__(self, name: str, grippers: Collection[str] = ()) -> None:
        """Diagnose the node `name`; chunks may disagree about `grippers`, which open and close."""
        self._name = f"{name}: motion"
        self._grippers = grippers
        self._lasting = LastingProblems()
        self.to_log: tuple[str, ...] = ()
        self._before: ExecutorState | None = None

    def status(
        self,
        state: ExecutorState,
        faults: Sequence[str] = (),
        missing: str = "",
        warnings: Sequence[Finding] = (),
    ) -> DiagnosticStatus:
        """Return OK, WARN or ERROR with the cause, and the values of the state.

        Args:
            state: the current state.
            faults: errors that do not show in the state.
            missing: description of inputs from which nothing was received.
            warnings: other problems that do not show in the state.

        """
        before, self._before = self._before, state
        rejected = _new(state.rejections, {} if before is None else before.rejections)
        underruns = state.underruns - (before.underruns if before else 0)
        deviations = dict(zip(state.joint_names, state.limit_deviation, strict=False))
        limited = [
            joint
            for i, joint in enumerate(state.joint_names)
            if state.limited_chunks[i] > (before.limited_chunks[i] if before else 0)
            and deviations.get(joint, 0.0) > _LARGE_LIMIT_DEVIATION
            and joint not in self._grippers
        ]
        accepted = state.accepted - (before.accepted if before else 0)
        splices = zip(map(abs, state.splice_discontinuity), state.joint_names, strict=True)
        discontinuity, joint = max(
            (splice for splice in splices if splice[1] not in self._grippers), default=(0.0, "")
        )
        findings = [Finding(DiagnosticStatus.ERROR, fault) for fault in faults]
        findings += [Finding(DiagnosticStatus.ERROR, missing)] if missing else []
        findings += [f for f in _stopped(state) if f.text not in faults]
        findings += [*_rejected(rejected), *warnings]
        if underruns > 0:
            findings.append(
                Finding(
                    DiagnosticStatus.WARN,
                    "no chunk came in time",
                    "underruns",
                    f"the robot stops between chunks ({state.underruns} times so far); see "
                    "within_budget of policy_status, and infer faster or use longer chunks",
                )
            )
        late = state.late_splices - (before.late_splices if before else 0)
        if late > 0:
            findings.append(
                Finding(
                    DiagnosticStatus.WARN,
                    f"{late} splices took effect late, the last one {state.splice_delay:.3f} s "
                    f"after sending: the lead time is now {state.splice_lead_time:.3f} s",
                    "late_splices",
                    "messages take long to reach their controller: keep other load off the cores "
                    "of controller_manager, or raise splice_lead_time",
                )
            )
        if state.speed_scaling < 1.0:
            findings.append(
                Finding(
                    DiagnosticStatus.WARN,
                    f"the robot scales its speed to {state.speed_scaling:.0%}",
                    "speed_scaling",
                    "chunks are executed more slowly than the policy proposes; see the speed "
                    "slider of the robot",
                )
            )
        if limited:
            findings.append(
                Finding(
                    DiagnosticStatus.WARN,
                    "limits change the motion of "
                    + ", ".join(f"{joint} by {deviations[joint]:.2f}" for joint in limited),
                    "limited_chunks",
                    "the robot does not move as the policy proposes; compare its velocities with "
                    "the limits of the robot contract and with limits_scale",
                )
            )
        if accepted and discontinuity > _LARGE_DISCONTINUITY:
            findings.append(
                Finding(
                    DiagnosticStatus.WARN,
                    f"consecutive chunks disagree by {discontinuity:.2f} at {joint}",
                    "discontinuity",
                    "check the latencies of the cameras in the robot contract, or use rtc.mode of "
                    "the policy",
                )
            )
        self.to_log = self._lasting.record(findings)
        values = {
            "status": state.status.name,
            "reason code": state.reason_code.value,
            "reason": state.reason,
            "control source": state.control_source.name,
            "chunk age": f"{state.chunk_age:.3f} s",
            "time until braking": f"{state.time_until_braking:.3f} s",
            "splice discontinuity": f"{discontinuity:.4f} ({joint})",
            "received": str(state.received),
            "accepted": str(state.accepted),
            "underruns": str(state.underruns),
            "speed scaling": f"{state.speed_scaling:.3f}",
            "splice lead time": f"{state.splice_lead_time:.3f} s",
            "splice delay": f"{state.splice_delay:.3f} s",
            "late splices": str(state.late_splices),
            "limited chunks": str(sum(state.limited_chunks)),
            "limit deviation": f"{max(state.limit_deviation, default=0.0):.4f}",
            **_rejection_values(state.rejections),
        }
        return _summary(self._name, findings, state.reason, values)


class PolicyDiagnosis:
    """Diagnostic status of consecutive policy status messages.

    Attributes:
        to_log: problems that have lasted for some time, which the last status is the first to tell.

    """

    def __init__(self, name: str) -> None:
        self._name = f"{name}: inference"
        self._lasting = LastingProblems()
        self.to_log: tuple[str, ...] = ()
        self._rejections: dict[str, int] = {}

    def status(
        self,
        msg: PolicyStatus,
        max_image_age: float,
        missing: str = "",
        warnings: Sequence[Finding] = (),
        *,
        idle: bool = False,
    ) -> DiagnosticStatus:
        """Return OK, WARN or ERROR with the cause, and the values of the message.

        Args:
            msg: the current status.
            max_image_age: inputs older than this are a fault, s.
            missing: description of inputs from which nothing was received, if there is one.
            warnings: other problems that do not show in the message.
            idle: whether there is no instruction to follow.

        """
        counts = {r.code: r.count for r in msg.rejections}
        rejected, self._rejections = _new(counts, self._rejections), counts
        active = msg.lifecycle == State.PRIMARY_STATE_ACTIVE
        latency = sum(stage.p95 for stage in msg.stages)
        findings = [*_rejected(rejected), *warnings]
        if msg.instruction_rejection:
            text = f"the newest instruction is not followed: {msg.instruction_rejection}"
            findings.append(Finding(DiagnosticStatus.WARN, text))
        if msg.action_rejection:
            text = f"the last action was not executed: {msg.action_rejection}"
            findings.append(Finding(DiagnosticStatus.WARN, text))
        if active:
            findings += [Finding(DiagnosticStatus.ERROR, missing)] if missing else []
            # The delay is 0 until the first chunk.
            if not idle and msg.rate == 0.0 and msg.inference_delay > 0:
                remedy = "see the rejections; without any, the model hangs: restart the node"
                finding = Finding(DiagnosticStatus.WARN, "no chunks are made", "no_chunks", remedy)
                findings.append(finding)
            findings += _slow(msg) + _stale(msg, max_image_age, not missing) + _wrong_rates(msg)
            findings += _moved_cameras(msg)
        else:
            self._lasting.reset()
        self.to_log = self._lasting.record(findings)
        values = {
            "rate": f"{msg.rate:.2f} of {msg.target_rate:.2f} Hz",
            "latency p50": f"{1e3 * sum(stage.p50 for stage in msg.stages):.1f} ms",
            "latency p95": f"{1e3 * latency:.1f} ms",
            "inference delay": f"{msg.inference_delay} steps",
            "execution horizon": f"{msg.execution_horizon} of {msg.horizon} steps",
            **{f"age of {i.name}": f"{i.age:.3f} s" for i in msg.inputs},
            **{
                f"rate of {i.name}": f"{i.rate:.1f} of {i.expected_rate:.1f} Hz" for i in msg.inputs
            },
            **{f"shift of {c.name}": c.text for c in msg.camera_shifts},
            "engine": f"{msg.engine} on {msg.device}",
            **_rejection_values(counts),
        }
        normal = f"{msg.rate:.1f} chunks/s, {1e3 * latency:.0f} ms"
        if not active:
            normal = "not active"
        elif idle:
            normal = "waiting for an instruction"
        return _summary(self._name, findings, normal, values)


def _stopped(state: ExecutorState) -> list[Finding]:
    if state.status == ExecutorStatus.ESTOPPED:
        return [Finding(DiagnosticStatus.ERROR, state.reason)]
    if state.reason_code in _REQUESTED and not state.latched:
        return []
    if state.status == ExecutorStatus.HOLDING and not state.hold:
        level = DiagnosticStatus.ERROR if state.latched else DiagnosticStatus.WARN
        return [Finding(level, state.reason)]
    if state.status == ExecutorStatus.BRAKING:
        return [Finding(DiagnosticStatus.WARN, state.reason)]
    return []


def _slow(msg: PolicyStatus) -> list[Finding]:
    found = []
    if msg.inference_delay > 0 and not msg.within_budget:
        text = (
            f"inference is too slow for the horizon: a chunk is {msg.inference_delay} steps late "
            f"and {msg.execution_horizon} of its {msg.horizon} steps are executed"
        )
        remedy = (
            "the robot stops between chunks; infer faster (fewer num_inference_steps, a faster "
            "engine, another rate_hz), or use a checkpoint with more action steps"
        )
        found.append(Finding(DiagnosticStatus.WARN, text, "over_budget", remedy))
    if 0.0 < msg.rate < _SLOW * msg.target_rate:
        text = f"{msg.rate:.1f} chunks/s instead of {msg.target_rate:.1f}"
        remedy = "set rate_hz to what this machine reaches, or use a faster engine"
        found.append(Finding(DiagnosticStatus.WARN, text, "slow_rate", remedy))
    return found


def _wrong_rates(msg: PolicyStatus) -> list[Finding]:
    found = []
    for each in msg.inputs:
        text = (
            f"{each.name} has {each.rate:.1f} Hz, the robot contract states "
            f"{each.expected_rate:g} Hz"
        )
        if 0.0 < each.rate < _SLOW * each.expected_rate:
            code = "slow_input"
            remedy = "messages are lost (docs/how-to/cameras.md), or the rate in the contract is"
        elif each.rate > _FAST * each.expected_rate > 0.0:
            code = "fast_input"
            remedy = "the topic has a second publisher, or the rate of driver or contract is"
        else:
            continue
        found.append(Finding(DiagnosticStatus.WARN, text, f"{code} {each.name}", f"{remedy} wrong"))
    return found


def _moved_cameras(msg: PolicyStatus) -> list[Finding]:
    return [
        Finding(DiagnosticStatus.WARN, camera.text)
        for camera in msg.camera_shifts
        if camera.status in (CameraShift.MOVED, CameraShift.UNCLEAR)
    ]


def _stale(msg: PolicyStatus, max_image_age: float, with_missing: bool) -> list[Finding]:
    found = []
    for each in msg.inputs:
        if each.age < 0.0 and each.count > 0:
            text = f"none of {each.count} messages of {each.name} was usable"
        elif each.age < 0.0 and with_missing:
            text = f"no message of {each.name} was received"
        elif each.age > max_image_age:
            text = f"{each.name} is {each.age:.1f} s old"
        else:
            continue
        found.append(Finding(DiagnosticStatus.ERROR, text))
    return found


def _rejected(counts: Mapping[str, int]) -> list[Finding]:
    return [
        Finding(
            DiagnosticStatus.ERROR if code in _FAULTS else DiagnosticStatus.WARN,
            f"rejected {count} times: {code}",
        )
        for code, count in counts.items()
        if code not in EXPECTED_REJECTIONS
    ]


def _rejection_values(counts: Mapping[str, int]) -> dict[str, str]:
    return {f"rejected {code}": str(count) for code, count in counts.items()}


def _new(counts: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return what was counted since `before`; a smaller count means that the counter restarted."""
    since = {}
    for code, count in counts.items():
        old = before.get(code, 0)
        if count != old:
            since[code] = count - old if count > old else count
    return since


def _summary(
    name: str, findings: Sequence[Finding], normal: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    """Return the status; errors come before warnings, `normal` is the message without any."""
    ordered = sorted(findings, key=lambda finding: finding.level, reverse=True)
    return DiagnosticStatus(
        level=ordered[0].level if ordered else DiagnosticStatus.OK,
        name=name,
        message="; ".join(finding.text for finding in ordered) or normal,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
