# SPDX-License-Identifier: Apache-2.0
"""Comparison of the instructions that policy and executor follow.

Both receive instructions: the policy from its service and the topic, the executor from the policy,
and stops also from the topic and from its own service. A message that only one of them receives
leaves them with different instructions: the policy infers, and the executor rejects its chunks.
"""

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from groot_ros.bridge.diagnosis import Finding
from groot_ros.core import NS_PER_S

#: Time for which the instructions must differ before it is reported, ns: one message may be late.
MISMATCH_NS = NS_PER_S
#: Age of a record after which its node counts as gone, ns: the policy reports at 2 Hz.
_EXPIRY_NS = 2 * NS_PER_S


@dataclass(frozen=True)
class HeldInstruction:
    """Instruction of one node.

    Attributes:
        session: of the policy; empty if there is none.
        id: number of the instruction; 0 = none known yet.
        text: empty if the node was stopped.

    """

    session: str = ""
    id: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"follows '{self.text}'" if self.text else "is stopped (empty instruction)"


class InstructionMismatch:
    """Report that policy and executor have followed different instructions for MISMATCH_NS.

    Attributes:
        description: the difference, once it has lasted; empty without one.

    Times are those of a steady clock, ns.

    """

    def __init__(self) -> None:
        self.description = ""
        self._policy = self._executor = HeldInstruction()
        self._policy_ns = self._executor_ns = 0
        self._since_ns: int | None = None

    def record_policy(self, held: HeldInstruction, now_ns: int) -> None:
        """Record the instruction that the policy follows now."""
        self._policy, self._policy_ns = held, now_ns

    def record_executor(self, held: HeldInstruction, now_ns: int) -> None:
        """Record the instruction that the executor follows now."""
        self._executor, self._executor_ns = held, now_ns

    def update(self, now_ns: int) -> str:
        """Compare; return the description if it is new, else an empty string."""
        policy, executor = self._policy, self._executor
        alive = now_ns - min(self._policy_ns, self._executor_ns) < _EXPIRY_NS
        same_session = bool(policy.session) and policy.session == executor.session
        if (
            not (alive and same_session and executor.id)
            or policy.text.strip() == executor.text.strip()
        ):
            self._since_ns, self.description = None, ""
            return ""
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < MISMATCH_NS:
            return ""
        before = self.description
        self.description = (
            f"the policy {policy}, the executor {executor}: give the instruction again with "
            "groot-ros say, or stop both with groot-ros stop"
        )
        return "" if self.description == before else self.description

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the difference for /diagnostics; none without one."""
        if not self.description:
            return ()
        return (Finding(DiagnosticStatus.WARN, self.description),)
