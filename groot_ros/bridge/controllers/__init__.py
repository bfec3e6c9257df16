# SPDX-License-Identifier: Apache-2.0
"""Controller types: one module each, which defines CONTROLLER_TYPE (robot.controller)."""
