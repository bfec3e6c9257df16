# SPDX-License-Identifier: Apache-2.0
"""Bags in rosbag2's format, written and read without rosbag2 (with the package `rosbags`)."""

from groot_ros.robot import RobotContract
from groot_ros.robot.controller import controller_type

#: Topics of policy and executor, the same for every robot.
_NODE_TOPICS = (
    "active_instruction",
    "action_chunk",
    "policy_status",
    "committed_timeline",
    "executor_state",
)

#: Types of cameras and of joint states.
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
JOINT_STATE = "sensor_msgs/msg/JointState"

#: Prompt of words and pictures as the policy follows it.
_PROMPT = "active_prompt"

#: Begins the recorder's line about an empty bag.
NOTHING_RECORDED = "nothing was recorded"


class BagError(ValueError):
    """A bag cannot be written or read; the message is one line: what, where, and how to fix it."""


def controller_states(contract: RobotContract) -> tuple[str, ...]:
    """Return the topics on which controllers report what they follow; not every one does."""
    return tuple(
        state.name(controller.topic)
        for controller in contract.controllers
        if (state := controller_type(controller.type).state())
    )


def optional_topics(contract: RobotContract) -> tuple[str, ...]:
    """Return the topics on which nothing need be published."""
    return (*controller_states(contract), *_prompts(contract))


def input_types(contract: RobotContract) -> dict[str, str]:
    """Return topic -> message type of what the policy observes: cameras, labels, joint states."""
    cameras = {c.topic: COMPRESSED if c.compressed else IMAGE for c in contract.cameras.values()}
    labels = {c.labels.topic: c.labels.message for c in contract.cameras.values() if c.labels}
    return cameras | labels | {source.topic: JOINT_STATE for source in contract.sources}


def input_topics(contract: RobotContract) -> tuple[str, ...]:
    """Return the topics that the policy observes, as of input_types(), without duplicates."""
    return tuple(input_types(contract))


def graph_topics(contract: RobotContract, *, use_sim_time: bool = False) -> tuple[str, ...]:
    """Return all topics that are needed to evaluate a run, without duplicates.

    The instruction, and for cameras with labels the prompt of words and pictures, is recorded as
    the policy follows it. The inputs, `instruction` and `prompt`, are not: a bag with them that is
    played would instruct a robot.

    Relative names are resolved in the namespace of the robot, absolute ones are shared by all.
    """
    topics = (
        *input_topics(contract),
        *_NODE_TOPICS,
        *_prompts(contract),
        *(controller.topic for controller in contract.controllers if controller.has_topic),
        *controller_states(contract),
        "/diagnostics",
        *(("/clock",) if use_sim_time else ()),
    )
    return tuple(dict.fromkeys(topics))


def _prompts(contract: RobotContract) -> tuple[str, ...]:
    """Return the topic of prompts with pictures, for a robot whose cameras have labels."""
    return (_PROMPT,) if any(c.labels for c in contract.cameras.values()) else ()
