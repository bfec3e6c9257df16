# SPDX-License-Identifier: Apache-2.0
"""A random checkpoint with the groups and views of a robot contract."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.families.gr00t_n1d6.weights import save_model
from groot_ros.processing.modality import ActionConfig, Embodiment, ModalityConfig, Representation
from groot_ros.processing.tokenizer import write_byte_tokenizer
from groot_ros.robot import RobotContract
from support.tiny_checkpoint import HORIZON, TAG, tiny_config, tiny_processor_config

#: Largest offset of an arm's action from its state, in units of the checkpoint.
REACH = 0.3


def write_robot_checkpoint(contract: RobotContract, directory: Path) -> Path:
    """Write a checkpoint: grippers absolute over their range, other groups relative."""
    state, action = contract.state_groups, contract.action_groups
    relative = [name for name in action if name in state and not _grips(contract, name)]
    kinds = {True: ActionConfig(Representation.RELATIVE), False: ActionConfig()}
    embodiment = Embodiment(
        video=ModalityConfig((0,), tuple(contract.cameras)),
        state=ModalityConfig((0,), tuple(state)),
        action=ModalityConfig(
            tuple(range(HORIZON)),
            tuple(action),
            action_configs=tuple(kinds[name in relative] for name in action),
        ),
        language=ModalityConfig((0,), ("task",)),
    )
    width = sum(len(group.joints) for group in action.values())
    size = {"max_state_dim": width, "max_action_dim": width}
    statistics = {
        "state": {name: _range(contract, joints, "units") for name, joints in state.items()},
        "action": {
            name: _range(contract, group.joints, "action_units") for name, group in action.items()
        },
        "relative_action": {
            name: _between(
                *np.multiply.outer([-REACH, REACH], np.ones((HORIZON, len(state[name]))))
            )
            for name in relative
        },
    }
    save_model(build_model(tiny_config(max_seq_len=64, **size), seed=0), directory)
    config = replace(tiny_processor_config(**size), embodiments={TAG: embodiment})
    save_processor(config, {TAG: statistics}, directory)
    write_byte_tokenizer(directory)
    return directory


def _grips(contract: RobotContract, group: str) -> bool:
    return all(contract.joints[j].gripper for j in contract.action_groups[group].joints)


def _range(contract: RobotContract, joints: tuple[str, ...], units: str) -> dict:
    limits = [contract.joints[joint].limits for joint in joints]
    maps = [getattr(contract.joints[joint], units) for joint in joints]
    ends = [
        [m.to_model(x) for m, x in zip(maps, side, strict=True)]
        for side in ([limit.lower for limit in limits], [limit.upper for limit in limits])
    ]
    return _between(*np.sort(ends, axis=0))


def _between(low: np.ndarray, high: np.ndarray) -> dict:
    middle, spread = (low + high) / 2, (high - low) / 4
    return {"min": low, "max": high, "q01": low, "q99": high, "mean": middle, "std": spread}
