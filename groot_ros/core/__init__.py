"""The records that the rooms hand each other: numpy and plain Python, each with its invariants.

Times are integer nanoseconds of the ROS clock, durations are float seconds, angles are
radians and lengths metres unless a docstring says otherwise.
"""

from groot_ros.core.chunk import ActionChunk, ActionGroup, ActionKind, RtcMode
from groot_ros.core.executor_state import ExecutorState, ExecutorStatus
from groot_ros.core.invariants import MalformedError
from groot_ros.core.node_config import PolicyConfig, RecorderConfig, SimRobotConfig
from groot_ros.core.observation import Observation, StampedInput
from groot_ros.core.prefix import ChunkOrigin, Prefix
from groot_ros.core.time import NS_PER_S, ns_to_s, s_to_ns, time_to_ns
from groot_ros.core.timeline import CommittedTimeline

__all__ = [
    "NS_PER_S",
    "ActionChunk",
    "ActionGroup",
    "ActionKind",
    "ChunkOrigin",
    "CommittedTimeline",
    "ExecutorState",
    "ExecutorStatus",
    "MalformedError",
    "Observation",
    "PolicyConfig",
    "Prefix",
    "RecorderConfig",
    "RtcMode",
    "SimRobotConfig",
    "StampedInput",
    "ns_to_s",
    "s_to_ns",
    "time_to_ns",
]
