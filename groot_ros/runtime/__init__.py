"""How a model is executed: every engine offers the same small interface."""
