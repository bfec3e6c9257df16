"""The command `groot-ros`: one module per verb, listed in `main.VERBS`."""
