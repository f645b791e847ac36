"""Two tables of classes: what is told of their agreement, and what is refused."""

import numpy as np
import pytest

from blush.cli.main import main
from blush.errors import BlushError
from blush.io.star import write_star
from blush.jobs.compare_classes import compare_classes


def table(path, classes, names=None, **columns):
    names = [f"{i + 1:06d}@a.mrcs" for i in range(len(classes))] if names is None else names
    content = {"rlnImageName": np.array(names, dtype=object), "rlnClassNumber": np.array(classes), **columns}
    write_star(path, {"particles": content})
    return path


def test_rows_are_brought_together_by_their_image_and_classes_by_their_images(tmp_path):
    """Three images of the second table are in another order, and one in none of the first."""
    first = table(tmp_path / "a.star", [4, 4, 7, 7])
    names = ["000004@a.mrcs", "000003@a.mrcs", "000009@a.mrcs", "000001@a.mrcs", "000002@a.mrcs"]
    second = table(tmp_path / "b.star", [1, 1, 1, 2, 2], names)
    found = compare_classes(first, second)
    assert found.table.tolist() == [[0, 2], [2, 0]]
    assert (found.first, found.second) == ([4, 7], [1, 2])
    assert (found.adjusted_rand, found.accuracy, found.calibration) == (1.0, 1.0, None)


def test_the_command_tells_agreement_chance_and_calibration(tmp_path, monkeypatch, capsys):
    """Of ten images eight agree, and all are said to be right with 0.95: an error of 0.15."""
    sure = {"rlnMaxValueProbDistribution": np.full(10, 0.95)}
    first = table(tmp_path / "a.star", [1] * 5 + [2] * 5, **sure)
    second = table(tmp_path / "b.star", [1] * 4 + [2] * 5 + [1])
    monkeypatch.setattr("sys.argv", ["blush", "classes", "compare", str(first), str(second)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("10 images: adjusted Rand index 0.280 (95 % interval ")
    assert "accuracy 0.800" in told[0]
    assert [line.split() for line in told[1:4]] == [["class", "1", "2"], ["1", "4", "1"], ["2", "1", "4"]]
    assert told[4].endswith("0.150")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["000001@b.mrcs", "000002@b.mrcs"], "has no image of"),
        (["000001@a.mrcs", "000001@a.mrcs"], "image is listed twice .found 000001@a.mrcs.; compare the tables before"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(tmp_path, names, told):
    first = table(tmp_path / "a.star", [1, 2])
    with pytest.raises(BlushError, match=told):
        compare_classes(first, table(tmp_path / "b.star", [1, 2], names))


def test_a_table_without_classes_is_refused(tmp_path):
    write_star(tmp_path / "b.star", {"particles": {"rlnImageName": np.array(["1@a.mrcs"], dtype=object)}})
    with pytest.raises(BlushError, match=r"b\.star, data_particles: columns are missing: rlnClassNumber"):
        compare_classes(table(tmp_path / "a.star", [1, 2]), tmp_path / "b.star")
