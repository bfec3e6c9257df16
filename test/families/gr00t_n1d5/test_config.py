# SPDX-License-Identifier: Apache-2.0
"""Sizes in config.json that no tensor can have are reported by name."""

import json

import pytest
from support.tiny_n1d5 import tiny_config

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config


@pytest.mark.parametrize(
    "key", ["max_state_dim", "max_num_embodiments", "pretrained_action_dim", "action_horizon"]
)
def test_a_size_that_no_tensor_can_have_is_reported_with_its_key(tmp_path, key):
    config = tiny_config()
    values = config.to_json()
    values["action_head_cfg"][key] = 2**53
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"'{key}' must be at most 1048576"):
        Gr00tN1d5Config.read(path, config.eagle)
