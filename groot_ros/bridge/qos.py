# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic."""

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)


def _profile(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
    )


#: Images: only the newest matters, and a late one is useless.
SENSOR = _profile(5, reliable=False)
#: Joint and controller states: best effort matches every publisher; enough are kept for a tick.
JOINT_STATES = _profile(10, reliable=False)
#: The default of drivers (REP-2003), also used by the simulated robot.
DRIVER = _profile(10, reliable=True)
#: Chunks and commands: none may be lost, only the newest matters.
COMMAND = _profile(1, reliable=True)
#: Chunks as the executor receives them: with two policies, the chunks of both must arrive.
CHUNKS = _profile(5, reliable=True)
#: Instruction from any publisher: a stop must arrive whatever QoS its publisher offers.
INSTRUCTION = _profile(5, reliable=False)
#: Second subscription to the instruction: receives what was published before it joined, and loses
#: nothing. Its depth is the same, so that two quick instructions arrive in order here as well.
INSTRUCTION_LATCHED = _profile(5, reliable=True, latched=True)
#: State that a late joiner receives immediately: instruction, timeline, status.
LATCHED = _profile(1, reliable=True, latched=True)
