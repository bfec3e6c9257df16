# SPDX-License-Identifier: Apache-2.0
"""The reference tokenizer, reduced to the tokens that the tests and the golden sets use."""

import json
import shutil
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "tokenizer"
#: Size of the reference vocabulary without added tokens.
VOCABULARY = 151643


def write_reference_tokenizer(directory: Path) -> Path:
    """Write a tokenizer with the ids of the reference; return the directory.

    `vocab.json` in DATA has 420 tokens with their original ids. A vocabulary must not have gaps,
    so every other id is filled with a placeholder that no text contains.
    """
    directory.mkdir(parents=True, exist_ok=True)
    kept = json.loads((DATA / "vocab.json").read_text(encoding="utf-8"))
    token_of = {number: token for token, number in kept.items()}
    tokens = {token_of.get(i, f"\0{i}"): i for i in range(VOCABULARY)}
    (directory / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
    for name in ("merges.txt", "added_tokens.json"):
        shutil.copyfile(DATA / name, directory / name)
    return directory
