"""forward_command_controller: receives one position per joint, passes it on unchanged."""

from array import array

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from groot_ros.bridge.controllers import ControllerType


def positions_to_msg(positions: NDArray[np.float64]) -> Float64MultiArray:
    """Convert positions [n], rad or m, in the order of the controller's joints."""
    return Float64MultiArray(data=array("d", positions.tolist()))


CONTROLLER_TYPE = ControllerType(Float64MultiArray, positions_to_msg)
