"""Files of weights: what is written is what is read, and whatever is wrong with a file is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from identity_networks import CREF_CARD, identity_cref, random_unet
from safetensors import safe_open

from blush.denoise.card import BLUSH, CREF, Card
from blush.denoise.weights import content_hash, load_weights, save_weights
from blush.errors import BlushError

CARD = Card(BLUSH, 2, 2, source="a test", licence="BSD-3-Clause")


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return dict(random_unet(2, 2).state_dict())


@pytest.fixture
def path(tmp_path, tensors) -> Path:
    save_weights(tmp_path / "w.safetensors", tensors, CARD)
    return tmp_path / "w.safetensors"


def refused(path: Path, *parts: str, arch: str | None = None) -> None:
    """Loading fails with a message that names the file and holds these parts."""
    with pytest.raises(BlushError) as failure:
        load_weights(path, arch)
    text = str(failure.value)
    assert str(path.parent) in text
    assert [part for part in parts if part not in text] == []


def test_what_is_saved_is_loaded(path, tensors):
    weights = load_weights(path, BLUSH)
    assert weights.card == CARD
    assert weights.sha256 == content_hash(tensors)
    assert weights.n_parameters == sum(t.numel() for t in tensors.values())
    assert not weights.network.training
    state = weights.network.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())
    assert not any(parameter.requires_grad for parameter in weights.network.parameters())
    patch = torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(weights.network(patch), random_unet(2, 2)(patch))


def test_crefs_network_is_loaded_by_its_card(tmp_path):
    save_weights(tmp_path / "c.safetensors", identity_cref().state_dict(), CREF_CARD)
    weights = load_weights(tmp_path / "c.safetensors", CREF)
    assert weights.card == CREF_CARD
    assert weights.card.voxel_size_angst is None
    assert weights.n_parameters == 322_881


def test_any_reader_of_safetensors_reads_them(path, tensors):
    with safe_open(path, framework="pt") as stored:
        assert set(stored.keys()) == set(tensors)
        assert stored.metadata() == CARD.to_metadata() | {"sha256": content_hash(tensors)}
        assert all(torch.equal(stored.get_tensor(name), tensor) for name, tensor in tensors.items())


def test_equal_weights_give_equal_bytes(tmp_path, path, tensors):
    for _ in range(3):  # the library alone would order the metadata by chance
        save_weights(tmp_path / "again.safetensors", dict(reversed(tensors.items())), CARD)
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_loading_draws_no_random_numbers(path):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    load_weights(path)
    assert torch.equal(torch.randn(3), expected)


def test_half_precision_is_stored_as_it_is_and_computed_in_float32(tmp_path, tensors):
    short = {name: tensor.half() for name, tensor in tensors.items()}
    sha256 = save_weights(tmp_path / "h.safetensors", short, CARD)
    weights = load_weights(tmp_path / "h.safetensors")
    assert weights.sha256 == sha256 == content_hash(short)
    for name, tensor in weights.network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, short[name].float())


@pytest.mark.parametrize("change", ["name", "type", "shape", "value"])
def test_the_hash_sees_every_change(tensors, change):
    other = dict(tensors)
    name = "up.0.conv.double_conv.conv1.weight"
    if change == "name":
        other["another"] = other.pop(name)
    elif change == "type":
        other[name] = other[name].double()
    elif change == "shape":
        other[name] = other[name].reshape(-1)
    else:
        other[name] = other[name].clone()
        other[name].view(-1)[7] = torch.nextafter(other[name].view(-1)[7], torch.tensor(9.0))
    assert content_hash(other) != content_hash(tensors)
    assert content_hash(dict(reversed(tensors.items()))) == content_hash(tensors)


@pytest.mark.parametrize("limit", [1, 3000, 10**9])
def test_shards_hold_the_same_weights(tmp_path, path, tensors, limit):
    sha256 = save_weights(tmp_path / "s.safetensors", tensors, CARD, largest_shard_bytes=limit)
    files = sorted(tmp_path.glob("s-*.safetensors"))
    largest = max(t.numel() * t.element_size() for t in tensors.values())
    stored = [load_shard(file) for file in files]
    sizes = [sum(t.numel() * t.element_size() for t in shard.values()) for shard in stored]
    assert all(size <= max(limit, largest) for size in sizes)
    assert len(files) == (len(tensors) if limit == 1 else len(files))
    assert (len(files) == 1) == (limit == 10**9)
    weights = load_weights(tmp_path / "s.safetensors.index.json", BLUSH)
    assert weights.sha256 == sha256 == load_weights(path).sha256
    assert weights.card == CARD
    state = load_weights(path).network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in weights.network.state_dict().items())


def load_shard(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118


def flip(path: Path, offset: int) -> None:
    """One bit of a file."""
    blob = bytearray(path.read_bytes())
    blob[offset] ^= 1
    path.write_bytes(bytes(blob))


def test_one_flipped_bit_is_noticed(path):
    flip(path, -5)
    refused(path, "its numbers have the SHA-256", "not the stated one", "get it again")


@pytest.mark.parametrize("kept", [0, 4, 100, 2000])
def test_a_truncated_file_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "is not a whole safetensors file", "get it again")


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_text("no weights at all, but a text")
    refused(tmp_path / "w.safetensors", "is not a whole safetensors file")


@pytest.mark.parametrize("name", ["none.safetensors", "none.safetensors.index.json"])
def test_a_missing_file_is_named(tmp_path, name):
    refused(tmp_path / name, name, "file does not exist", "correct the path")


def test_weights_of_the_other_network_are_refused(path):
    refused(path, "are of another network", BLUSH, f"give weights of {CREF}", arch=CREF)


def test_an_unknown_network_is_refused(tmp_path, tensors):
    save_weights(tmp_path / "w.safetensors", tensors, replace(CARD, arch="resnet"))
    refused(tmp_path / "w.safetensors", "are of another network", "resnet")


def test_a_file_without_a_card_says_how_to_get_one(tmp_path, tensors):
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", "name no network", "blush import-weights")


def rewritten(path: Path, **entries: str | None) -> None:
    """Change the metadata of a file, the tensors as they are."""
    blob = path.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] |= {name: text for name, text in entries.items() if text is not None}
    for name in [name for name, text in entries.items() if text is None]:
        del header["__metadata__"][name]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + blob[8 + length :])


def test_without_a_hash_nothing_is_believed(path):
    rewritten(path, sha256=None)
    refused(path, "states no hash")


def test_every_senseless_entry_is_listed(path):
    rewritten(path, width="many", depth="-1", voxel_size_angst="nan", block_px=None)
    refused(
        path,
        "width: is not a whole number from 1 to 1024 (found many)",
        "depth: is not a whole number from 1 to 8 (found -1)",
        "voxel_size_angst: is neither 'any' nor a voxel size of 0.1 to 100 Å (found nan)",
        "block_px: entry of the metadata is missing",
    )


def test_every_tensor_that_does_not_fit_is_listed(tmp_path, tensors):
    tensors["extra"] = tensors.pop("outc.bias")
    tensors["outc.weight"] = torch.zeros(3, 2, 1, 1, 1)
    tensors["inc.double_conv.conv1.bias"] = torch.tensor([1.0, float("nan")])
    save_weights(tmp_path / "w.safetensors", tensors, CARD)
    refused(
        tmp_path / "w.safetensors",
        "4 tensor(s) do not fit the network",
        "outc.bias: tensor is missing",
        "extra: tensor has no place",
        "outc.weight: shape should be (2, 2, 1, 1, 1) (found (3, 2, 1, 1, 1))",
        "inc.double_conv.conv1.bias: holds values that are not finite numbers",
    )


def test_a_card_of_another_width_does_not_fit(path):
    rewritten(path, width="4")
    refused(path, "do not fit the network", "width 4 and depth 2")


@pytest.fixture
def index(tmp_path, tensors) -> Path:
    save_weights(tmp_path / "s.safetensors", tensors, CARD, largest_shard_bytes=3000)
    return tmp_path / "s.safetensors.index.json"


def test_a_damaged_shard_is_named(index):
    shard = sorted(index.parent.glob("s-*.safetensors"))[1]
    flip(shard, -5)
    refused(index, shard.name, "its numbers have the SHA-256")


def test_a_missing_shard_is_named(index):
    shard = sorted(index.parent.glob("s-*.safetensors"))[1]
    shard.unlink()
    refused(index, shard.name, "file does not exist")


def test_a_shard_of_another_network_is_noticed(index, tensors):
    """Whole in itself, so that only the hash of all numbers tells."""
    shard = sorted(index.parent.glob("s-*.safetensors"))[0]
    names = load_shard(shard)
    from blush.denoise.weights import _write

    changed = {name: tensor + 1 for name, tensor in names.items()}
    _write(shard, changed, {"sha256": content_hash(changed)})
    refused(index, index.name, "its numbers have the SHA-256")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"metadata": {}}', "is not an index of weights"),
        ('{"metadata": {}, "weight_map": {"a": 1}}', "is not an index of weights"),
        ('{"metadata": {}, "weight_map": {"a": "../x.safetensors"}}', "names a file of another folder"),
    ],
)
def test_a_damaged_index_is_refused(index, text, message):
    index.write_text(text)
    refused(index, index.name, message)


def test_an_index_that_differs_from_its_files_is_refused(index):
    content = json.loads(index.read_text())
    content["weight_map"]["another"] = next(iter(content["weight_map"].values()))
    index.write_text(json.dumps(content))
    refused(index, "and its files differ", "another")


def test_another_suffix_is_refused(tmp_path, tensors):
    with pytest.raises(ValueError, match=r"\.safetensors file, not w\.pt"):
        save_weights(tmp_path / "w.pt", tensors, CARD)
