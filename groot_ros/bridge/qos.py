"""Quality of service of every topic, said once."""

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


#: Images: only the newest counts, and a late one is worthless.
SENSOR = _profile(5, reliable=False)
#: Joint states: best effort accepts every publisher; a few are kept for interpolation.
JOINT_STATES = _profile(10, reliable=False)
#: What a driver publishes by default (REP-2003), as the simulated robot does.
DRIVER = _profile(10, reliable=True)
#: Chunks and commands: none may be lost, only the newest counts.
COMMAND = _profile(1, reliable=True)
#: Chunks as the executor receives them: two policies at once must both be seen.
CHUNKS = _profile(5, reliable=True)
#: The instruction as any publisher sends it: a stop must not depend on somebody's QoS.
INSTRUCTION = _profile(5, reliable=False)
#: Listened to beside INSTRUCTION: this alone gets what was said before we joined, and loses nothing.
#: As deep, so that two words in a moment come in their order here, too.
INSTRUCTION_LATCHED = _profile(5, reliable=True, latched=True)
#: State that a late joiner must see at once: instruction, timeline, status.
LATCHED = _profile(1, reliable=True, latched=True)
