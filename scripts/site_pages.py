"""Pages of the site that lie outside docs/, and the links to them: a hook of mkdocs (`make docs`)."""

import os.path
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "config/README.md": "config",
    "blush/denoise/data/w8d4.md": "w8d4",
    "blush/denoise/data/localwiener.md": "localwiener",
}
"""Name in the site of each page from elsewhere, without `.md`."""
_LINK = re.compile(r"\[([^\[\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from elsewhere."""
    for source, name in PAGES.items():
        files.append(File.generated(config, f"{name}.md", content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links between files of the repository into links between pages; those to other files become text."""
    uri = page.file.src_uri
    source = next((path for path, own in PAGES.items() if f"{own}.md" == uri), f"docs/{uri}")

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if path in PAGES:
            return f"[{text}]({PAGES[path]}.md{anchor})"
        if path.startswith("docs/"):
            return f"[{text}]({path.removeprefix('docs/')}{anchor})"
        if not (ROOT / path).exists():
            return link[0]  # which the strict build refuses
        return text

    return _LINK.sub(turned, markdown)
