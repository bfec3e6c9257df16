# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 reference network."""

from groot_ros.families.gr00t.network import Gr00tNetwork
from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config


class Gr00tN1d5(Gr00tNetwork):
    """See `families.gr00t.network.Gr00tNetwork`."""

    config: Gr00tN1d5Config
    backbone: EagleBackbone
    action_head: ActionHead

    def __init__(self, config: Gr00tN1d5Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = EagleBackbone(config.eagle, config.backbone)
        self.action_head = ActionHead(config.head)


build_model = Gr00tN1d5.build
