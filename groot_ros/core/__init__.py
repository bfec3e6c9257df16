# SPDX-License-Identifier: Apache-2.0
"""Records that the packages exchange; they check their invariants and depend on numpy only.

Times are integer nanoseconds of the ROS clock, durations are float seconds, angles are
radians and lengths metres unless a docstring says otherwise.
"""

from groot_ros.core.chunk import (
    CHUNK_DT,
    CHUNK_STEPS,
    ActionChunk,
    ActionGroup,
    ActionKind,
    ChunkOrigin,
    NoChunkError,
    Prefix,
    RtcMode,
    group_width,
)
from groot_ros.core.execution import (
    COMMITTED_JOINT_STATES,
    PROPOSED_JOINT_STATES,
    CommittedTimeline,
    ControlSource,
    ExecutorState,
    ExecutorStatus,
    ReasonCode,
)
from groot_ros.core.invariants import MalformedError
from groot_ros.core.node_config import (
    MAX_INFERENCE_STEPS,
    PlayerConfig,
    PolicyConfig,
    RecorderConfig,
    SimRobotConfig,
)
from groot_ros.core.observation import (
    MAX_INSTRUCTION_LENGTH,
    Groups,
    Observation,
    StampedInput,
    instruction_problem,
    is_blank,
)
from groot_ros.core.time import NS_PER_S, ns_to_s, other_clock_hint, s_to_ns, time_to_ns
from groot_ros.core.tool_pose import ToolPose

__all__ = [
    "CHUNK_DT",
    "CHUNK_STEPS",
    "COMMITTED_JOINT_STATES",
    "MAX_INFERENCE_STEPS",
    "MAX_INSTRUCTION_LENGTH",
    "NS_PER_S",
    "PROPOSED_JOINT_STATES",
    "ActionChunk",
    "ActionGroup",
    "ActionKind",
    "ChunkOrigin",
    "CommittedTimeline",
    "ControlSource",
    "ExecutorState",
    "ExecutorStatus",
    "Groups",
    "MalformedError",
    "NoChunkError",
    "Observation",
    "PlayerConfig",
    "PolicyConfig",
    "Prefix",
    "ReasonCode",
    "RecorderConfig",
    "RtcMode",
    "SimRobotConfig",
    "StampedInput",
    "ToolPose",
    "group_width",
    "instruction_problem",
    "is_blank",
    "ns_to_s",
    "other_clock_hint",
    "s_to_ns",
    "time_to_ns",
]
