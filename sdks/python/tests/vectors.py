"""The vectors that every SDK checks (sdks/conformance)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFORMANCE = Path(__file__).resolve().parents[2] / "conformance"


def load(name: str) -> Any:
    """A file of vectors."""
    return json.loads((CONFORMANCE / name).read_text(encoding="utf-8"))


def contract_bytes() -> bytes:
    """The contract of the conformance service."""
    return (CONFORMANCE / "contract.binpb").read_bytes()
