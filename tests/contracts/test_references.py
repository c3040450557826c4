"""A reference names a page that is in the repository and a heading that is on the page, in code and pages alike.

Code says `docs/rules.md, Periods`; a page may link to `rules.md#periods` as well.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "functions", "layers", "local", "tests", "tools")
SUFFIXES = {".py", ".sql", ".md"}
FILES = [
    *(path for pattern in ("*.md", "*.yaml", "*.toml", "Makefile") for path in sorted(ROOT.glob(pattern))),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES),
]
FILES.remove(Path(__file__).resolve())
PAGES = [path for path in FILES if path.suffix == ".md"]

LINK = re.compile(r"\[[^][]*\]\(([^)\s]+)\)")
URL = re.compile(r"\w+://\S+")
PAGE = re.compile(r"(?<![\w./-])([\w/-]+\.md)\b(?:, ([A-Z].{,80}))?")
DECISION = re.compile(r"\b[Dd]ecision (\d+)|\bdocs/decisions/(\d+)")
SECTION = re.compile(r"(?<!RFC \d{4} )§ ?\S+")


@cache
def headings(page: Path) -> list[str]:
    """The headings of a page, in order."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchor(heading: str) -> str:
    """A heading as a link names it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def dangling(text: str, path: Path) -> Iterator[str]:
    """The references in the text of a file that lead nowhere."""
    is_page = path.suffix == ".md"
    for target in LINK.findall(text) if is_page else ():
        page, _, fragment = target.partition("#")
        leads_to = (path.parent / page).resolve() if page else path
        if URL.match(target):
            continue
        if not leads_to.exists() or (fragment and fragment not in map(anchor, headings(leads_to))):
            yield target
    # a reference may go on in the next line, which may be a comment's
    words = re.sub(r"\s*\n\s*(?:#+ |-- )?\s*", " ", URL.sub("", LINK.sub("", text) if is_page else text))
    for page, heading in PAGE.findall(words):
        known = headings(ROOT / page) if (ROOT / page).is_file() else []
        if not known or (heading and not any(re.match(rf"{re.escape(name)}(?!\w)", heading) for name in known)):
            yield f"{page}, {heading}"
    for numbers in DECISION.findall(words):
        if not any((ROOT / "docs/decisions").glob(f"{int(''.join(numbers)):04}-*.md")):
            yield f"decision {''.join(numbers)}"
    yield from SECTION.findall(words)


def test_every_reference_leads_somewhere() -> None:
    found = [f"{path.relative_to(ROOT)}: {each}" for path in FILES for each in dangling(path.read_text("utf-8"), path)]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "RULES.md says so",
        "docs/nothing.md",
        "(docs/rules.md, Nothing of the kind)",
        "# docs/rules.md,\n# Nothing of the kind",
        "see §4",
        "[the rules](docs/nothing.md)",
        "[the rules](docs/rules.md#nothing)",
        "[above](#nothing)",
        "decision 9999",
        "docs/decisions/9999",
    ],
)
def test_a_reference_to_nothing_is_found(text: str) -> None:
    assert list(dangling(text, ROOT / "README.md"))


@pytest.mark.parametrize(
    "text",
    [
        "docs/rules.md, and more",
        "(docs/rules.md, Periods)",
        "-- docs/rules.md,\n    -- Who carries qualified, says so",
        "[the rules](docs/rules.md#who-carries-qualified)",
        "https://example.com/rules.md",
        "RFC 9457 §3",
        "decision 7",
        "docs/decisions/0007",
    ],
)
def test_a_reference_to_something_is_none_of_them(text: str) -> None:
    assert not list(dangling(text, ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_heading_stands_once_on_its_page(page: Path) -> None:
    assert not [heading for heading, times in Counter(map(anchor, headings(page))).items() if times > 1]
