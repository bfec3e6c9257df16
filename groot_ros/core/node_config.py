# SPDX-License-Identifier: Apache-2.0
"""Configuration of the policy, the simulated robot, the recorder and the player.

The executor's configuration is `control.settings.ExecutorConfig`.
"""

from dataclasses import dataclass

from groot_ros.core.config import check, module_names, parameter

#: Largest number of denoising steps; checkpoints use 4, and the time grows with each step.
MAX_INFERENCE_STEPS = 100
#: "auto" is the fastest engine that was validated on this machine.
ENGINE_CHOICES = ("auto", *module_names("runtime/engines"))
DTYPE_CHOICES = ("auto", "bfloat16", "float32")
ROBOT_DESCRIPTION = "Robot contract: path of a YAML file, or the name of a shipped one"


@dataclass(frozen=True)
class PolicyConfig:
    """Configuration of the policy: model, engine, inputs and real-time chunking.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    checkpoint: str = parameter("", "Checkpoint: directory, file, or id of a downloaded one")
    embodiment: str = parameter("new_embodiment", "Embodiment tag of the checkpoint")
    robot: str = parameter("", ROBOT_DESCRIPTION)
    backbone_assets: str = parameter(
        "", "Directory of the tokenizer and of the VLM's configuration; '' = the checkpoint"
    )
    base_checkpoint: str = parameter(
        "", "Base model that the checkpoint refers to; '' = the one that it names"
    )
    engine: str = parameter(
        "auto",
        "How the model is executed; auto = the fastest validated on this machine",
        choices=ENGINE_CHOICES,
        former_choices={"plain": "reference"},
    )
    engine_directory: str = parameter("", "Directory of `groot-ros engine make`; '' = none")
    allow_unvalidated_engine: bool = parameter(
        False,
        "Run the engine even if its outputs differ from the reference outputs",
        former_name="allow_unproven_engine",
    )
    device: str = parameter("auto", "auto, cpu, cuda or cuda:N")
    dtype: str = parameter(
        "auto",
        "Weights; auto = bfloat16 on a GPU",
        choices=DTYPE_CHOICES,
        former_choices={"fp32": "float32", "bf16": "bfloat16"},
    )
    torch_threads: int = parameter(
        0,
        "CPU threads of torch; 0 = all cores, one for a checkpoint below 64 MB",
        minimum=0,
        maximum=256,
    )
    num_inference_steps: int = parameter(
        0,
        "Denoising steps; 0 = as configured in the checkpoint",
        minimum=0,
        maximum=MAX_INFERENCE_STEPS,
    )
    rate_hz: float = parameter(
        5.0,
        "Inference rate; an inference slower than its period skips ticks",
        unit="Hz",
        minimum=0.1,
        maximum=100.0,
    )
    max_image_age: float = parameter(
        0.3, "Older images are not used", unit="s", minimum=0.001, maximum=60.0, live=True
    )
    max_image_skew: float = parameter(
        0.05,
        "Largest difference between the stamps of one observation's images",
        unit="s",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    max_state_gap: float = parameter(
        0.1,
        "Largest distance from t_obs of the joint states that are interpolated",
        unit="s",
        minimum=0.001,
        maximum=10.0,
        live=True,
    )
    max_future: float = parameter(
        0.05,
        "Stamps further in the future are rejected",
        unit="s",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    instruction: str = parameter("", "Instruction until one is received; '' = wait for one")
    accept_instruction_topic: bool = parameter(
        True,
        "Follow instructions on the topic instruction; false = only the service set_instruction, "
        "and empty ones on the topic, which stop",
        live=True,
    )
    rtc_mode: str = parameter(
        "off",
        "Real-time chunking: how a new chunk is conditioned on motion already committed",
        choices=("off", "native", "guided"),
        name="rtc.mode",
    )
    rtc_frozen_steps: int = parameter(
        -1,
        "Leading steps of a chunk that repeat committed motion exactly; "
        "-1 = as many as the inference delay needs",
        minimum=-1,
        maximum=1000,
        name="rtc.frozen_steps",
    )
    camera_reference_directory: str = parameter(
        "",
        "Parent directory of the reference pictures of `groot-ros cameras save`; "
        "'' = ~/.config/groot_ros/cameras",
    )
    max_camera_shift: float = parameter(
        4.0,
        "Shift of the background since the reference picture above which a camera has moved",
        unit="px",
        minimum=0.5,
        maximum=1000.0,
    )
    camera_shift_action: str = parameter(
        "warn",
        "What activate does if a camera has moved: warn, refuse, or off = not compared",
        choices=("warn", "refuse", "off"),
    )
    noise_seed: int = parameter(-1, "Seed of the denoising noise; -1 = a new one each time")
    added_delay: float = parameter(
        0.0,
        "Time by which each inference is prolonged, to find out how much a task tolerates",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SimRobotConfig:
    """Configuration of the simulated robot.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    robot: str = parameter("", ROBOT_DESCRIPTION)
    seed: int = parameter(0, "Seed of the scenes", minimum=0, maximum=2**31 - 1)
    task: str = parameter(
        "",
        "Tasks that are judged, separated by commas: ~/reset begins a scene of the next one, "
        "~/episode states the outcome; vima = all tasks with pictures, whose scenes begin by "
        "themselves and publish their prompt",
    )
    image_width: int = parameter(640, "Camera image width", unit="px", minimum=16, maximum=4096)
    image_height: int = parameter(480, "Camera image height", unit="px", minimum=16, maximum=4096)
    joint_state_rate: float = parameter(
        100.0, "Rate of the joint states", unit="Hz", minimum=1.0, maximum=1000.0
    )
    control_rate: float = parameter(
        250.0, "Rate of controllers and physics", unit="Hz", minimum=50.0, maximum=1000.0
    )
    controller_state_rate: float = parameter(
        20.0,
        "Rate of controller_state of each joint_trajectory_controller, where control_msgs is "
        "installed; 0 = never",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    controller_distro: str = parameter(
        "jazzy",
        "ROS distribution whose joint_trajectory_controller is simulated",
        choices=("jazzy", "humble"),
    )
    publish_clock: bool = parameter(False, "Publish /clock instead of following real time")
    real_time_factor: float = parameter(1.0, "Speed of /clock", minimum=0.01, maximum=100.0)
    camera_dropout: float = parameter(
        0.0, "Share of the camera frames that are lost", minimum=0.0, maximum=1.0
    )
    camera_shift: float = parameter(
        0.0,
        "Distance by which the cameras of a task's scenes are moved",
        unit="m",
        minimum=0.0,
        maximum=1.0,
    )
    joint_offset: float = parameter(
        0.0,
        "Error of the joints' encoders, grippers excepted",
        unit="rad",
        minimum=-1.0,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LockstepConfig:
    """Configuration of an evaluation in which simulated time waits for the nodes.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    task: str = parameter("", "Task whose scenes are run")
    seed: int = parameter(0, "Seed of the scenes", minimum=0, maximum=2**31 - 1)
    episodes: int = parameter(1, "Number of scenes", minimum=1, maximum=1_000_000)
    camera_shift: float = parameter(
        0.0, "Distance by which the cameras are moved", unit="m", minimum=0.0, maximum=1.0
    )
    videos: str = parameter("", "Directory for videos of failures; '' = none")
    output: str = parameter("", "File of the outcomes, a line of JSON each")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ExpertConfig:
    """Configuration of a scripted expert whose episodes are recorded through topics.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    task: str = parameter("", "Task whose scenes are recorded")
    seed: int = parameter(0, "Seed of the scenes", minimum=0, maximum=2**31 - 1)
    episodes: int = parameter(1, "Number of episodes", minimum=1, maximum=1_000_000)
    calm: bool = parameter(False, "No disturbances")
    results: str = parameter("", "File of the results, a line of JSON for each episode")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RecorderConfig:
    """Configuration of the recorder.

    Raises:
        ValueError: a value is of the wrong type; names the parameter.

    """

    output: str = parameter(
        "", "Directory of the bag, which must not exist yet; with episodes, folder of their bags"
    )
    episodes: bool = parameter(
        False, "Wait for the service start_episode, and record each episode into a separate bag"
    )
    instruction: str = parameter(
        "", "What the robot is to do, for the description of the bags; '' = what a policy follows"
    )
    compression: str = parameter(
        "none",
        "Compression of the bags; zstd saves disk space and takes more CPU time",
        choices=("none", "zstd"),
    )
    topics: tuple[str, ...] = parameter(
        (), "Topics to record; empty = all topics of the robot contract"
    )
    robot: str = parameter("", ROBOT_DESCRIPTION)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PlayerConfig:
    """Configuration of the player of bags.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    bag: str = parameter("", "Directory of the bag")
    robot: str = parameter("", ROBOT_DESCRIPTION + "; '' = the one in the bag")
    topics: tuple[str, ...] = parameter(
        (), "Topics to play; empty = cameras and joint states of the robot contract"
    )
    rate: float = parameter(1.0, "Speed of playing", minimum=0.01, maximum=100.0)
    start_offset: float = parameter(
        0.0, "Begin this long after the start of the bag", unit="s", minimum=0.0, maximum=1e6
    )
    loop: bool = parameter(False, "Begin again at the end of the bag")
    clock_rate: float = parameter(
        100.0, "Rate of /clock in real time", unit="Hz", minimum=1.0, maximum=1000.0
    )
    wait_for_policy: float = parameter(
        0.0,
        "Longest time to wait for an active policy before playing; 0 = do not wait",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )

    def __post_init__(self) -> None:
        check(self)
