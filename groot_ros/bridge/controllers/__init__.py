"""Controller types: one module each, which defines CONTROLLER_TYPE (robot.controller)."""
