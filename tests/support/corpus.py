"""The corpus: what providers once sent, in the folder PAYLOAD_CORPUS, by default the one beside the project."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """Where the corpus is; the project's own examples where there is none."""
    beside = ROOT.parent / "shared" / "payloads"
    named = os.environ.get("PAYLOAD_CORPUS")
    return Path(named) if named else beside if beside.is_dir() else ROOT / "events"
