# SPDX-License-Identifier: Apache-2.0
"""Training of the demo checkpoint: demonstrations, training run and check in closed loop."""
