"""A sealed file says when it was changed, cut, or put in another's place; other programs read it as before."""

import pickle

import mrcfile
import numpy as np
import pytest

from blush.io.files import load_npz, read_json, save_npz, write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.seal import DamagedFile, Owner, blank_seal, read_seal, sealed, verify
from blush.io.star import read_star, write_star

RUN = "0123456789abcdef"
VOLUME = np.random.default_rng(1).standard_normal((8, 8, 8)).astype(np.float32)
WRITE = {
    "a.npz": lambda path, _: save_npz(path, {"x": np.arange(1000)}),
    "a.mrc": lambda path, _: write_volume(path, VOLUME, 1.5),
    "a.json": lambda path, _: write_json(path, {"x": 1, "y": [0.1, 0.2]}),
    "a.star": lambda path, owner: write_star(path, {"p": {"rlnX": np.arange(99)}}, comment=blank_seal(owner)),
}


def make(folder, name, owner=None):
    owner = owner or Owner(RUN, name)
    with sealed(folder / name, owner) as beside:
        WRITE[name](beside, owner)
    return folder / name


@pytest.mark.parametrize("name", WRITE)
def test_every_changed_bit_and_every_cut_is_found(name, tmp_path):
    path = make(tmp_path, name)
    content, digest = path.read_bytes(), verify(path, Owner(RUN, name))
    assert digest == read_seal(path).digest
    for place in np.random.default_rng(0).integers(0, len(content), 200):
        changed = bytearray(content)
        changed[place] ^= 1 << int(place % 8)
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match=name):
            verify(path, Owner(RUN, name))
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFile, match=name):
            verify(path, Owner(RUN, name))


@pytest.mark.parametrize("name", WRITE)
def test_a_whole_file_in_anothers_place_is_found(name, tmp_path):
    path = make(tmp_path, name, Owner(RUN, "it001/" + name))
    with pytest.raises(DamagedFile, match="another name"):
        verify(path, Owner(RUN, "it002/" + name))
    with pytest.raises(DamagedFile, match="another run"):
        verify(path, Owner(RUN[::-1], "it001/" + name))
    path.unlink()
    with pytest.raises(DamagedFile, match="is missing"):
        verify(path, Owner(RUN, "it001/" + name))


def test_sealed_files_are_read_as_others_are(tmp_path):
    paths = {name: make(tmp_path, name) for name in WRITE}
    assert np.array_equal(load_npz(paths["a.npz"])["x"], np.arange(1000))
    assert read_json(paths["a.json"]) == {"x": 1, "y": [0.1, 0.2]}
    assert np.array_equal(read_star(paths["a.star"])["p"]["rlnX"], np.arange(99))
    assert np.array_equal(read_volume(paths["a.mrc"])[0], VOLUME)
    assert mrcfile.validate(paths["a.mrc"])


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in WRITE:
        first = make(tmp_path, name).read_bytes()
        assert make(tmp_path, name).read_bytes() == first


def test_a_file_without_a_seal_is_not_believed(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(DamagedFile, match="has no seal"):
        verify(tmp_path / "a.json", Owner(RUN, "a.json"))


def test_the_error_passes_between_processes(tmp_path):
    damage = DamagedFile(tmp_path / "a", "is missing", "look for it")
    again = pickle.loads(pickle.dumps(damage))
    assert (again.path, again.fault, again.remedy, str(again)) == (
        damage.path,
        "is missing",
        "look for it",
        str(damage),
    )
