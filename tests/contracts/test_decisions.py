"""Every record of a decision has one form, so that a reader finds since when it holds and what else was considered."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = sorted((ROOT / "docs/decisions").glob("*.md"))
FORM = re.compile(
    r"# (\d+)\. [^\n]+\n\n- Status: [^\n]+\n- Date: \d{4}-\d\d-\d\d[^\n]*\n"
    r"\n## Context\n.+\n## Decision\n.+\n## Rejected\n.+\n## Consequences\n.+",
    re.DOTALL,
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_a_status_a_date_and_what_was_rejected(record: Path) -> None:
    form = FORM.fullmatch(record.read_text(encoding="utf-8"))
    assert form
    assert int(form[1]) == int(record.name[:4])


def test_no_two_decisions_have_one_number() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert len(set(numbers)) == len(numbers)
