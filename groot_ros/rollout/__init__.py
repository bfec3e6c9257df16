# SPDX-License-Identifier: Apache-2.0
"""Episodes in the simulator: data of scripted experts, and success of policies in closed loop."""
