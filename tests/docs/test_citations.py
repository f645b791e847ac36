"""Every page that the tree cites is in the tree, and so is the section."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PROSE = (".py", ".md", ".smk", ".yaml", ".sh", ".toml", ".cpp", ".cu", ".html")
PAGE = re.compile(
    r"(?<![\w*{}/])((?:\.\./|[\w-]+/)*[\w-]+\.md)\b(?:(?:#|,? sections? )([\w-]+)(?:(?: and |, )(\d+)\b)?)?"
)
WRITTEN = {"MODEL_CARD.md"}  # pages that the program writes, to be found beside what they describe


def cited(text: str) -> list[tuple[str, list[str]]]:
    """Pages that a text names, each with the numbers or anchors of its sections."""
    return [(page, [s for s in sections if s]) for page, *sections in PAGE.findall(text)]


def headings(page: Path) -> set[str]:
    """Numbers and anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return anchors | {found[1] for title in titles if (found := re.match(r"(\d+)\. ", title))}


def unresolved(source: Path, text: str) -> list[str]:
    """Citations of a text that lead nowhere: from its own folder, or from the root where it is written so."""
    lost = []
    for page, sections in cited(text):
        places = [place for place in (source.parent / page, ROOT / page) if place.is_file()]
        if page in WRITTEN:
            continue
        if not places:
            lost.append(page)
            continue
        lost += [f"{page} {each}" for each in sections if each not in headings(places[0])]
    return lost


def test_every_page_that_is_cited_is_there():
    sources = [ROOT / name for name in TRACKED if name.endswith(PROSE) and (ROOT / name).is_file()]
    assert len(sources) > 300
    own = Path(__file__).resolve()
    lost = {str(path): unresolved(path, path.read_text(encoding="utf-8")) for path in sources if path != own}
    assert {path: pages for path, pages in lost.items() if pages} == {}


def test_a_citation_that_leads_nowhere_is_found():
    source = ROOT / "blush/fourier/grid.py"
    assert unresolved(source, "as refinement.md 9 has it") == ["refinement.md"]
    assert unresolved(source, "docs/algorithm.md, sections 3 and 99") == ["docs/algorithm.md 99"]
    assert unresolved(source, "docs/algorithm.md#no-such-heading") == ["docs/algorithm.md no-such-heading"]
    assert unresolved(source, "docs/algorithm.md, section 5, and docs/training.md") == []
