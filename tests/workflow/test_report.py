"""`snakemake --report` holds the results of a run with their captions."""

import json
import re

from workflow_helpers import run, snakemake


def test_the_report_holds_page_and_numbers_with_captions(finished, tmp_path):
    config, folder, _ = finished
    page = tmp_path / "report.html"
    run(snakemake(config, "--report", str(page)))
    text = page.read_text(encoding="utf-8")
    results = {}
    for name in ("report.html", "summary.json"):
        found = re.search(rf'"{re.escape(str(folder / name))}": (\{{"name": .*?), "mime_type"', text)
        assert found is not None, name
        results[name] = re.sub(r"<.*?>|\n", "", json.loads(found[1] + "}")["caption"])
    assert results["report.html"].startswith(f"What was found in {folder}: final maps, their resolution")
    assert results["summary.json"].endswith(f"the content of every input of {folder}.")
    assert "A refinement or a classification of single-particle images with Blush." in text
