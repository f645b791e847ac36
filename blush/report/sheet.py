"""The frame of a self-contained page: head, what it may load, style, sections, figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import blush
from blush.io.files import atomic_write

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser lets a page do: use what is in it, and load nothing."""


_RELOADS = """<noscript><meta http-equiv="refresh" content="60"></noscript>
<script>
(() => {  // Now and then, while the page is seen and nobody uses it.
  let touched = 0;
  const touch = () => { touched = Date.now(); };
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, touch, { passive: true });
  setInterval(() => { if (!document.hidden && Date.now() - touched > 60000) location.reload(); }, 30000);
})();
</script>
"""


def document(title: str, header: str, body: str, reloads: bool = False) -> str:
    """A whole page, which loads nothing but, where it is to, itself again.

    Parameters
    ----------
    title
        Plain text.
    header
        HTML under the title.
    body
        HTML of warnings, figures and sections.
    reloads
        Whether a browser reads it again every half a minute.
    """
    css = files("blush.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} – Blush</title>\n"
        f"<style>\n{css}</style>\n{_RELOADS if reloads else ''}</head>\n<body>\n<header>\n"
        f"<h1>{escape(title)}</h1>\n{header}</header>\n{body}</body>\n</html>\n"
    )


def lead(text: str) -> str:
    """One plain line under the title; nothing where it is empty."""
    return f'<p class="lead">{escape(text)}</p>\n' if text else ""


def write_sheet(target: Path, title: str, under: str, body: str, note: str, warnings: Sequence[str] = ()) -> Path:
    """Write a page, beside and renamed.

    Parameters
    ----------
    under
        What stands under the title.
    body
        HTML of its sections; the other texts are plain.
    """
    written = f'<p class="note">Written by Blush {escape(blush.__version__)}. {escape(note)}</p>\n'
    return write_text(target, document(title, lead(under), warned(warnings) + body + written))


def write_text(target: Path, text: str) -> Path:
    """Write a page, beside and renamed."""
    with atomic_write(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return target


def warned(warnings: Sequence[str]) -> str:
    """A list of plain texts that must not be missed; nothing where there are none."""
    listed = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<ul class="warnings">{listed}</ul>\n' if listed else ""


def section(title: str, *parts: str) -> str:
    """A section; nothing where all its parts are empty."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n" if content else ""


def figure(image: str | None, caption: str, kind: str = "") -> str:
    """A drawing and what it shows."""
    return f'<figure class="{kind}">\n{image}\n<figcaption>{escape(caption)}</figcaption>\n</figure>' if image else ""


def pictures(images: Sequence[tuple[str, str]]) -> str:
    """PNG data addresses with captions, side by side."""
    parts = (
        f'<figure><img src="{data}" alt="{escape(name)}"><figcaption>{escape(name)}</figcaption></figure>'
        for name, data in images
    )
    return f'<div class="maps">{"".join(parts)}</div>' if images else ""


def rows(head: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "lines") -> str:
    """A table of plain texts."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table class="{kind} wide"><tr>{top}</tr>{body}</table></div>' if lines else ""
