"""Files that may not be read, though the tests may run as root."""

from pathlib import Path
from typing import Any

import pytest


def forbid(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Opening this file fails as it does without the right to."""
    opened = Path.open

    def reject(self: Path, *given: Any, **named: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *given, **named)

    monkeypatch.setattr(Path, "open", reject)
