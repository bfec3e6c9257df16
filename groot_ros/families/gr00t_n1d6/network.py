# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 reference network."""

from groot_ros.families.gr00t.network import Gr00tNetwork
from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config


class Gr00tN1d6(Gr00tNetwork):
    """See `families.gr00t.network.Gr00tNetwork`."""

    config: Gr00tN1d6Config
    backbone: EagleBackbone
    action_head: ActionHead

    def __init__(self, config: Gr00tN1d6Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = EagleBackbone(config.eagle, config.select_layer)
        self.action_head = ActionHead(config)


build_model = Gr00tN1d6.build
