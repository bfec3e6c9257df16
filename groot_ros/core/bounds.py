"""What a policy may be asked, said once for nodes, tools and files."""

import unicodedata

#: Characters; a policy reads a sentence, not a book: every token costs attention at each chunk.
LONGEST_INSTRUCTION = 2000
#: Denoising steps; checkpoints take 4, and each costs as much time as the first.
MOST_STEPS = 100


def instruction_problem(text: str) -> str:
    """Why nobody may be told this, or an empty string."""
    if len(text) > LONGEST_INSTRUCTION:
        return f"the instruction has {len(text)} characters, at most {LONGEST_INSTRUCTION}"
    lone = next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
    if lone is not None:
        return (
            f"the instruction is no text: its character {lone} is half of a surrogate pair "
            f"(U+{ord(text[lone]):04X})"
        )
    control = next((c for c in text.strip() if unicodedata.category(c) == "Cc"), "")
    if control:
        return f"the instruction holds the control character {control!r}: say it in one plain line"
    return ""
