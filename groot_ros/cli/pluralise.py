"""Numbers in sentences."""


def pluralise(number: int, noun: str) -> str:
    """As "1 action" and "2,000 actions"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
