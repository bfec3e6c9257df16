"""Which topics make up the graph."""

from groot_ros.robot import RobotContract

#: What policy and executor say to each other and to the user, whatever the robot.
_OWN_TOPICS = (
    "instruction",
    "action_chunk",
    "policy_status",
    "committed_timeline",
    "executor_state",
)


def graph_topics(contract: RobotContract, *, use_sim_time: bool = False) -> tuple[str, ...]:
    """All topics from which a run can be understood and evaluated, each once.

    Relative names belong to the namespace of the robot, absolute ones are shared by all.
    """
    topics = (
        *(camera.topic for camera in contract.cameras.values()),
        *(source.topic for source in contract.joint_states),
        *_OWN_TOPICS,
        *(controller.topic for controller in contract.controllers),
        "/diagnostics",
        *(("/clock",) if use_sim_time else ()),
    )
    return tuple(dict.fromkeys(topics))
