"""The embedded checkpoint's shape: GR00T N1.6 in every part, each part small.

Units are those of a real SO-101 checkpoint: degrees, and 0 to 100 for the gripper.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.models.gr00t_n1d6 import (
    DiTConfig,
    EagleConfig,
    Gr00tN1d6Config,
    TextConfig,
    VisionConfig,
)
from groot_ros.processing.byte_tokenizer import IMAGE_TOKEN_INDEX, VOCAB_SIZE
from groot_ros.processing.modality import (
    ActionConfig,
    Embodiment,
    ModalityConfig,
    ProcessorConfig,
    Representation,
)
from groot_ros.robot import RobotContract
from groot_ros.sim import JOINTS
from groot_ros.training.demo_data import HORIZON, VIEWS, DemoData

TAG = "new_embodiment"
GROUPS = ("single_arm", "gripper")

#: Widths of the language tower, the vision tower and the action head.
_TEXT, _VISION, _DIT = 64, 64, 64


def model_config() -> Gr00tN1d6Config:
    """Under a million parameters; 40 image tokens from two 112 x 140 pictures."""
    vision = VisionConfig(
        hidden_size=_VISION,
        intermediate_size=2 * _VISION,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_patches=64,
        use_rope=False,
        use_windows_attn=False,
        full_attention_indexes=(),
    )
    text = TextConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=_TEXT,
        intermediate_size=2 * _TEXT,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=_TEXT // 4,
    )
    return Gr00tN1d6Config(
        eagle=EagleConfig(vision, text, image_token_index=IMAGE_TOKEN_INDEX),
        select_layer=text.num_hidden_layers,
        backbone_embedding_dim=_TEXT,
        max_state_dim=8,
        max_action_dim=8,
        action_horizon=HORIZON,
        hidden_size=_DIT,
        input_embedding_dim=_DIT,
        max_seq_len=32,
        max_num_embodiments=1,
        dit=DiTConfig(
            num_layers=6,
            num_attention_heads=4,
            attention_head_dim=_DIT // 4,
            output_dim=_DIT,
            dropout=0.0,
        ),
    )


def processor_config() -> ProcessorConfig:
    """Two views, one state, sixteen steps: the arm relative to its state, the gripper absolute."""
    now = (0,)
    action = ModalityConfig(
        tuple(range(HORIZON)),
        GROUPS,
        action_configs=(
            ActionConfig(Representation.RELATIVE),
            ActionConfig(Representation.ABSOLUTE),
        ),
    )
    return ProcessorConfig(
        {
            TAG: Embodiment(
                video=ModalityConfig(now, VIEWS),
                state=ModalityConfig(now, GROUPS),
                action=action,
                language=ModalityConfig(now, ("annotation.human.task_description",)),
            )
        },
        embodiment_ids={TAG: 0},
        shortest_image_edge=112,
        crop_fraction=0.95,
        max_state_dim=8,
        max_action_dim=8,
        max_action_horizon=HORIZON,
        use_relative_action=True,
    )


def to_groups(
    contract: RobotContract, joints: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """[..., 6] rad in the order of JOINTS to group -> [..., D] in the checkpoint's units."""
    return {
        name: contract.to_model(name, joints[..., [JOINTS.index(j) for j in group.joints]])
        for name, group in contract.groups.items()
    }


def statistics(contract: RobotContract, data: DemoData) -> dict[str, Any]:
    """statistics.json of the data, in the checkpoint's units; the arm alone is relative."""
    state = to_groups(contract, data.states)
    action = to_groups(contract, data.actions)
    relative = action["single_arm"] - state["single_arm"][:, None, None]
    return {
        TAG: {
            "state": {name: _describe(values) for name, values in state.items()},
            "action": {
                name: _describe(values.reshape(-1, values.shape[-1]))
                for name, values in action.items()
            },
            "relative_action": {
                "single_arm": _describe(relative.reshape(-1, *relative.shape[-2:]))
            },
        }
    }


def _describe(samples: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """[N, ...] to statistic -> [...]."""
    return {
        "min": samples.min(0),
        "max": samples.max(0),
        "mean": samples.mean(0),
        "std": samples.std(0),
        "q01": np.quantile(samples, 0.01, axis=0),
        "q99": np.quantile(samples, 0.99, axis=0),
    }
