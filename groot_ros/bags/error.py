"""What goes wrong with bags."""


class BagError(ValueError):
    """A bag cannot be written or read: one line that says what, where, and how to mend it."""
