"""Every parameter of every node, said once; docs/reference/parameters.md is made from this."""

from dataclasses import replace
from functools import partial
from typing import Any

from groot_ros.bridge.parameters import Parameter
from groot_ros.control.settings import ExecutorSettings
from groot_ros.core.bounds import MOST_STEPS
from groot_ros.observation.spec import SyncTolerances


def _row(record: object, name: str, *row: Any, live: bool = False) -> Parameter:
    """A row whose default is the field of that name: it is said there and nowhere else."""
    return replace(Parameter(name, getattr(record, name), *row), live=live)


_tolerance = partial(_row, SyncTolerances())
_setting = partial(_row, ExecutorSettings())

ROBOT = Parameter("robot", "", "Robot contract: path of a YAML file (config/robots/so101.yaml)")

POLICY = (
    Parameter("checkpoint", "", "Checkpoint directory (config.json, *.safetensors, ...)"),
    Parameter("embodiment", "new_embodiment", "Embodiment tag of the checkpoint"),
    ROBOT,
    Parameter("backbone_assets", "", "Directory of tokenizer and VLM config; '' = the checkpoint"),
    Parameter(
        "engine",
        "auto",
        "How the model is executed; auto = the fastest proven here",
        choices=("auto", "torch", "cuda_graph", "onnxruntime", "tensorrt", "plain"),
    ),
    Parameter("engine_directory", "", "Directory of `groot-ros engine make`; '' = none"),
    Parameter(
        "allow_unvalidated_engine",
        False,
        "Run the engine even if it gives other answers than stored",
    ),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N"),
    Parameter("dtype", "auto", "auto = bf16 on a GPU", choices=("auto", "bfloat16", "float32")),
    Parameter(
        "torch_threads",
        0,
        "CPU threads of torch, 0 = all cores, one for a checkpoint below 64 MB",
        "",
        0,
        256,
    ),
    Parameter("num_inference_steps", 0, "Denoising steps, 0 = the checkpoint's", "", 0, MOST_STEPS),
    Parameter("rate_hz", 5.0, "Inference rate; a slow inference skips ticks", "Hz", 0.1, 100.0),
    _tolerance("max_image_age", "Older images are not acted on", "s", 0.001, 60.0, live=True),
    _tolerance(
        "max_image_skew", "Images of one observation agree to this", "s", 0.0, 10.0, live=True
    ),
    _tolerance(
        "max_state_gap",
        "Joint states must surround (or precede) t_obs this closely",
        "s",
        0.001,
        10.0,
        live=True,
    ),
    _tolerance("max_future", "A stamp further ahead is rejected", "s", 0.0, 10.0, live=True),
    Parameter("instruction", "", "Instruction until one arrives; '' = wait for one"),
    Parameter(
        "rtc.mode",
        "off",
        "How chunks continue committed motion (real-time chunking)",
        choices=("off", "native", "guided"),
    ),
    Parameter(
        "rtc.frozen_steps",
        -1,
        "Steps of a chunk that repeat committed motion exactly, -1 = as many as the delay needs",
        "",
        -1,
        1000,
    ),
    Parameter("noise_seed", -1, "Seed of the denoising noise, -1 = a new one each time"),
)

EXECUTOR = (
    ROBOT,
    Parameter("rate_hz", 100.0, "How often the timeline is looked after", "Hz", 1.0, 1000.0),
    _setting("commit_horizon", "Motion sent ahead of the braking tail", "s", 0.05, 5.0),
    _setting("max_chunk_age", "Chunks older than this are rejected", "s", 0.05, 60.0, live=True),
    _setting("blend_window", "A seam is decayed over this long", "s", 0.0, 2.0, live=True),
    _setting(
        "blend_acceleration",
        "A seam that needs more to decay takes up to one and a half windows",
        "rad/s^2 or m/s^2",
        0.1,
        1000.0,
        live=True,
    ),
    _setting("max_future", "A stamp further ahead is rejected", "s", 0.0, 10.0, live=True),
    _setting(
        "max_start_jump",
        "A chunk that starts further than this from the measured joints is rejected",
        "rad or m",
        0.01,
        10.0,
        live=True,
    ),
    _setting(
        "limits_scale", "Velocity and acceleration limits times this", "", 0.01, 1.0, live=True
    ),
    _setting(
        "joint_state_timeout", "Joint states older than this stop the motion", "s", 0.02, 10.0
    ),
    _setting("braking_time", "A stop takes this long if limits allow", "s", 0.0, 5.0),
    _setting(
        "max_underruns",
        "So many times without a chunk in time need ~/resume; 0 = any number",
        "",
        0,
        1_000_000,
        live=True,
    ),
    _setting(
        "max_following_error",
        "Joints further than this from their command are sent no more; 0.5 s of it need resume",
        "rad or m",
        0.001,
        10.0,
        live=True,
    ),
    _setting("shadow", "Report everything, command nothing"),
    _setting("single_step", "One chunk for each call of ~/step", live=True),
    Parameter(
        "discovery_timeout",
        5.0,
        "After its start the process commands nothing for so long: another executor may be there",
        "s",
        0.0,
        60.0,
    ),
    Parameter("realtime_priority", 20, "SCHED_FIFO priority where permitted, 0 = off", "", 0, 98),
)

SIM_ROBOT = (
    ROBOT,
    Parameter("seed", 0, "Seed of the cube positions", "", 0, 2**31 - 1),
    Parameter("image_width", 640, "Camera image width", "px", 16, 4096),
    Parameter("image_height", 480, "Camera image height", "px", 16, 4096),
    Parameter("joint_state_rate", 100.0, "joint_states", "Hz", 1.0, 1000.0),
    Parameter("control_rate", 250.0, "Controller and physics rate", "Hz", 50.0, 1000.0),
    Parameter(
        "controller_distro",
        "jazzy",
        "Whose joint_trajectory_controller is followed",
        choices=("jazzy", "humble"),
    ),
    Parameter("publish_clock", False, "Publish /clock instead of following real time"),
    Parameter("real_time_factor", 1.0, "Speed of /clock", "", 0.01, 100.0),
)

RECORDER = (
    Parameter("output", "", "Directory of the bag; must not exist yet"),
    Parameter("topics", [""], "Topics to record; empty = the graph of the robot contract"),
    ROBOT,
)

TABLES = {
    "policy_node": POLICY,
    "executor_node": EXECUTOR,
    "sim_robot_node": SIM_ROBOT,
    "recorder_node": RECORDER,
}
