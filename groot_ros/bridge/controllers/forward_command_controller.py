# SPDX-License-Identifier: Apache-2.0
"""forward_command_controller: receives one position per joint, passes it on unchanged."""

from array import array

import numpy as np
from numpy.typing import NDArray

from groot_ros.bridge.command_topic import TopicControllerType


class _ForwardCommandController(TopicControllerType):
    command = "positions"
    default_topic = "commands"

    def message_type(self) -> type:
        from std_msgs.msg import Float64MultiArray

        message: type = Float64MultiArray
        return message

    def to_message(self, command: NDArray[np.float64]) -> object:
        return self.message_type()(data=array("d", command.tolist()))


CONTROLLER_TYPE = _ForwardCommandController()
