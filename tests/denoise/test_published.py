"""Importing published weights: only tensors are read, and nothing is ever executed."""

import gzip
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from identity_networks import CREF_CARD, identity_cref, random_unet
from typer.testing import CliRunner

from blush.cli.main import app
from blush.denoise.card import BLUSH, CREF
from blush.denoise.published import import_weights
from blush.denoise.weights import content_hash, load_weights, save_weights
from blush.errors import BlushError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cref"


def bundle_of(state, **entries) -> dict:
    """A dictionary as the published file holds it; its source would leave a trace if it were run."""
    source = "import pathlib\npathlib.Path('executed').touch()\nraise SystemExit('executed')\n"
    given = {
        "model_state_dict": state,
        "model_definition": source,
        "block_size": 64,
        "voxel_size": 1.5,
        "no_mask": False,
    }
    return given | entries


def state(width: int = 2, depth: int = 2) -> OrderedDict:
    return random_unet(width, depth).state_dict()


def arrays(width: int = 2, depth: int = 2) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state(width, depth).items()}


def packed(path: Path, blob: bytes) -> Path:
    path.write_bytes(gzip.compress(blob))
    return path


def torch_saved(content: object, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(BlushError) as failure:
        import_weights(path)
    assert [part for part in (str(path), *parts) if part not in str(failure.value)] == []


KINDS = {f"tensors, protocol {p}": lambda p=p: pickle.dumps(bundle_of(state()), p) for p in (2, 3, 4, 5)}
KINDS |= {f"arrays, protocol {p}": lambda p=p: pickle.dumps(bundle_of(arrays()), p) for p in (0, 2, 3, 4, 5)}
KINDS |= {"torch.save": lambda: torch_saved(bundle_of(state()), True)}
KINDS |= {"old torch.save": lambda: torch_saved(bundle_of(state()), False)}
KINDS |= {"parameters": lambda: pickle.dumps(bundle_of(dict(random_unet(2, 2).named_parameters())), 4)}
KINDS |= {
    "numpy numbers": lambda: pickle.dumps(bundle_of(state(), voxel_size=np.float64(1.5), block_size=np.int64(64)))
}
KINDS |= {"wrapped": lambda: pickle.dumps(bundle_of({f"module.{n}": t for n, t in state().items()}))}
KINDS |= {"last layer in a class": lambda: pickle.dumps(
    bundle_of({n.replace("outc.", "outc.conv."): t for n, t in state().items()}))}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_gives_its_tensors_and_runs_no_source(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    tensors, card = import_weights(packed(tmp_path / "bundle.gz", KINDS[kind]()))
    assert content_hash(tensors) == content_hash(state())
    assert (card.arch, card.width, card.depth) == (BLUSH, 2, 2)
    assert (card.voxel_size_angst, card.block_px) == (1.5, 64)
    assert not (tmp_path / "executed").exists()


def test_tensors_that_share_numbers_are_taken_apart(tmp_path):
    """Views of one storage, with offsets and strides, as a pickle may hold them."""
    numbers = torch.arange(1000.0)
    tensors = OrderedDict(state())
    tensors["inc.double_conv.conv1.bias"], tensors["inc.double_conv.conv2.bias"] = numbers[3:5], numbers[4:20:8]
    made, _ = import_weights(packed(tmp_path / "bundle.gz", pickle.dumps(bundle_of(tensors))))
    assert made["inc.double_conv.conv1.bias"].tolist() == [3.0, 4.0]
    assert made["inc.double_conv.conv2.bias"].tolist() == [4.0, 12.0]
    assert made["inc.double_conv.conv1.bias"].is_contiguous()


class Runs:
    """Asks for a function to be called when it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def inside_array(payload: Runs) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = payload
    return array


def inside_storage(payload: Runs) -> Runs:
    """What `torch.storage._load_from_bytes` would unpickle with a pickle of its own."""
    return Runs(torch.storage._load_from_bytes, torch_saved(payload, False))


PLACES = {
    "the bundle itself": lambda payload: payload,
    "beside the tensors": lambda payload: bundle_of(state(), extra=payload),
    "among the tensors": lambda payload: bundle_of({**state(), "outc.bias": payload}),
    "in an array of objects": lambda payload: bundle_of(state(), extra=inside_array(payload)),
    "in the bytes of a tensor": lambda payload: bundle_of({**state(), "outc.bias": inside_storage(payload)}),
}


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", ["mkdir", "eval", "exec"])
def test_code_is_refused_and_not_executed(tmp_path, place, function, protocol):
    trace = tmp_path / "executed"
    call = {
        "mkdir": (os.mkdir, str(trace)),
        "eval": (eval, f"__import__('os').mkdir({str(trace)!r})"),
        "exec": (exec, f"import os; os.mkdir({str(trace)!r})"),
    }[function]
    blob = pickle.dumps(PLACES[place](Runs(*call)), protocol)
    refused(packed(tmp_path / "bundle.gz", blob))
    assert not trace.exists()
    pickle.loads(blob)  # the payload is a real one: an ordinary reader runs it
    assert trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_what_torch_saved_is_refused_and_not_executed(tmp_path, zipped):
    trace = tmp_path / "executed"
    refused(packed(tmp_path / "bundle.gz", torch_saved(bundle_of(state(), extra=Runs(os.mkdir, str(trace))), zipped)))
    assert not trace.exists()


def test_what_is_refused_is_named(tmp_path):
    blob = pickle.dumps(bundle_of(state(), extra=Runs(os.mkdir, "x")))
    refused(packed(tmp_path / "b.gz", blob), "asks for something to be executed", f"{os.mkdir.__module__}.mkdir")


def test_a_class_of_torch_is_refused_by_name(tmp_path):
    blob = pickle.dumps(bundle_of(random_unet(1, 1)))
    refused(packed(tmp_path / "b.gz", blob), "asks for something to be executed", "blush.denoise.unet.UNet3d")


def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path):
    storage = torch.zeros(4)._typed_storage()
    far = Runs(torch._utils._rebuild_tensor_v2, storage, 0, (10**6,), (1,), False, OrderedDict())
    refused(packed(tmp_path / "b.gz", pickle.dumps(bundle_of({**state(), "outc.bias": far}))), "beyond its numbers")


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "is not a pickle"),
        (b"no pickle", "is not a pickle"),
        (pickle.dumps([1, 2]), "holds no model_state_dict"),
        (pickle.dumps({"model_state_dict": 3}), "holds no model_state_dict"),
        (pickle.dumps(bundle_of({"layer": torch.zeros(3)})), "holds another network"),
        (pickle.dumps(bundle_of({"inc.double_conv.conv1.weight": 3})), "is not a tensor of real numbers"),
        (pickle.dumps(bundle_of({"inc.double_conv.conv1.weight": torch.zeros(2, 2)})), "width|depth"),
    ],
)
def test_other_pickles_are_refused(tmp_path, blob, message):
    with pytest.raises(BlushError, match=message):
        import_weights(packed(tmp_path / "b.gz", blob))


@pytest.mark.parametrize("value", [None, 0, -1.5, float("nan"), "1.5", True])
def test_a_voxel_size_that_is_none_is_refused(tmp_path, value):
    blob = pickle.dumps(bundle_of(state(), voxel_size=value))
    refused(packed(tmp_path / "b.gz", blob), "voxel_size is not a positive number")


def test_tensors_that_do_not_fit_are_listed(tmp_path):
    tensors = dict(state())
    tensors["up.0.extra"] = tensors.pop("up.1.conv.double_conv.norm2.bias")
    blob = pickle.dumps(bundle_of(tensors))
    refused(
        packed(tmp_path / "b.gz", blob), "up.1.conv.double_conv.norm2.bias: tensor is missing", "up.0.extra: tensor has"
    )


def test_a_truncated_bundle_is_refused(tmp_path):
    path = packed(tmp_path / "b.gz", pickle.dumps(bundle_of(state())))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "is not a whole gzip file")


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "b.gz", "file does not exist")


def test_what_is_neither_is_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, CREF_CARD)
    refused(tmp_path / "w.safetensors", "has been imported already")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "is neither a Blush bundle nor crefDenoiser's tensors")


def run(*arguments: object):
    return CliRunner().invoke(app, ["import-weights", *map(str, arguments)])


def test_the_command_writes_weights_that_load(tmp_path):
    bundle = packed(tmp_path / "bundle.gz", pickle.dumps(bundle_of(state())))
    out = tmp_path / "blush.safetensors"
    made = run(bundle, out)
    assert made.exit_code == 0
    weights = load_weights(out, BLUSH)
    assert weights.sha256 == content_hash(state())
    parameters = f"{weights.n_parameters:,}"
    for part in (f"{BLUSH}, width 2, depth 2", parameters, "1.5 Å", "64 px", weights.sha256, str(out)):
        assert part in made.output
    patch = torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(weights.network(patch), random_unet(2, 2)(patch))


def test_the_command_imports_crefs_tensors(tmp_path):
    from safetensors.torch import save_file

    save_file(dict(identity_cref().state_dict()), tmp_path / "in.safetensors")
    made = run(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert made.exit_code == 0
    assert "322,881" in made.output
    assert "voxel size: any" in made.output
    assert "licence: none stated" in made.output
    assert load_weights(tmp_path / "out.safetensors", CREF).card.voxel_size_angst is None


def test_the_command_refuses_another_suffix(tmp_path):
    made = run(tmp_path / "b.gz", tmp_path / "out.pt")
    assert isinstance(made.exception, BlushError)
    assert "end its name in .safetensors" in str(made.exception)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository")
def test_the_published_cref_weights_are_imported(tmp_path):
    made = run(SHARED / "cref_epoch192.safetensors", tmp_path / "cref.safetensors")
    assert made.exit_code == 0
    weights = load_weights(tmp_path / "cref.safetensors", CREF)
    assert weights.n_parameters == 322_881
    assert "none stated" in weights.card.licence
