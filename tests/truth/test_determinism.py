"""The same input gives the same bytes: again, and with its shards in another order."""

import hashlib

import pytest
from truth_runs import make_set, refine_iterations

RESULTS = ("*.mrc", "*.star", "*.bild", "it*/*.json", "it*/*.npz", "postprocess/*")
LAST = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("repeat"), particles=48)


def digests(run):
    """Contents of all results by name, wherever the run folder lies; digests noted of tables differ with its name."""
    files = [path for pattern in RESULTS for path in run.glob(pattern) if path.name != ".seals.json"]
    contents = {path: path.read_bytes().replace(str(run).encode(), b"RUN") for path in sorted(files)}
    return {str(path.relative_to(run)): hashlib.sha256(content).hexdigest() for path, content in contents.items()}


@pytest.fixture
def refined(folder, tmp_path, monkeypatch):
    """Refine to the end of three iterations, in a working folder of its own."""

    def run(name, **changes):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        return digests(refine_iterations(folder, place, LAST, **changes))

    return run


def test_twice_the_same_gives_the_same_bytes(refined):
    first, second = refined("first"), refined("second")
    assert len(first) > 20
    assert first == second


def test_the_order_of_shards_and_halves_does_not_matter(refined):
    assert refined("forward") == refined("backward", backwards=True)


def test_another_seed_gives_other_bytes(refined):
    """Shows that the digests would tell."""
    first, second = refined("one"), refined("other", seed=2)
    assert first["run_class001.mrc"] != second["run_class001.mrc"]
