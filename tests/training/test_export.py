"""What is shipped: weights that load, a card that says what is known, failures too, a manifest to repeat it."""

import json
from pathlib import Path

import pytest
import torch
from training_problem import training_config

from blush.config.regulariser import SHIPPED, BlushSettings, RegulariserSettings
from blush.denoise.card import BLUSH, CREF, LOCAL_WIENER, Card
from blush.denoise.cref_unet import CrefUNet
from blush.denoise.local_wiener import GainNet
from blush.denoise.unet import UNet3d
from blush.denoise.weights import load_weights, save_weights
from blush.errors import BlushError
from blush.regularise.localwiener import LocalWiener
from blush.regularise.select import regulariser
from blush.training import export as export_module
from blush.training.checkpoint import write_losses
from blush.training.export import export
from blush.training.fit import Training, fit
from blush.training.models import read_models
from blush.training.ranks import Rank


@pytest.fixture
def trained(store: Path, tmp_path: Path) -> Path:
    """Folder of a training of four steps."""
    fit(training_config(steps=4), store, tmp_path / "fit", lambda _: None)
    return tmp_path / "fit"


def test_the_files_are_complete(store: Path, trained: Path, tmp_path: Path) -> None:
    path = export(training_config(steps=4), trained, store, None, tmp_path / "out")
    weights = load_weights(path)
    assert torch.equal(
        weights.network.state_dict()["outc.bias"],
        load_weights(trained / "weights.safetensors").network.state_dict()["outc.bias"],
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["weights_sha256"] == weights.sha256
    assert (manifest["steps"], manifest["patches"]) == (4, 12)
    assert [e["name"] for e in manifest["entries"]] == ["m0", "m1", "m2", "m3"]
    assert manifest["configuration"]["sources"]["simulated"]["models"] == "models.npz"  # no folder of this machine
    assert str(tmp_path) not in json.dumps(manifest)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Not evaluated." in card
    assert "4 steps, 12 patches" in card


def test_failures_stand_on_the_card(store: Path, trained: Path, tmp_path: Path) -> None:
    verdicts = [
        {"what": "gain", "figure": -0.1, "limit": 0, "passed": False, "rivals": {"wiener": 0.0}},
        {"what": "slope", "figure": 0.9, "limit": [0.6, 1.1], "passed": True, "rivals": {}},
    ]
    (tmp_path / "e.json").write_text(json.dumps({"verdicts": verdicts, "methods": {"network": {}, "wiener": {}}}))
    export(training_config(steps=4), trained, store, tmp_path / "e.json", tmp_path / "out")
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| **FAILED** gain | -0.100 | 0 | 0.000 |" in card
    assert "| slope | 0.900 | 0.6 to 1.1 | – |" in card


def test_half_precision_where_it_does_no_harm(store: Path, trained: Path, tmp_path: Path, monkeypatch) -> None:
    config = training_config(steps=4).model_copy(update={"export_half": True})
    path = export(config, trained, store, None, tmp_path / "out")
    assert path.stat().st_size < 0.7 * (trained / "weights.safetensors").stat().st_size
    monkeypatch.setattr(export_module, "LARGEST_ROUNDING", 1e-9)
    with pytest.raises(BlushError, match=r"export_half: changes results by .*; set export_half: false"):
        export(config, trained, store, None, tmp_path / "out")


@pytest.mark.parametrize(
    ("arch", "card"),
    [("blush", Card(BLUSH, 2, 5)), ("cref", Card(CREF)), ("localwiener", Card(LOCAL_WIENER, 8))],
)
def test_half_precision_of_every_network(store: Path, trained: Path, tmp_path: Path, arch: str, card: Card) -> None:
    """Depth 5 is the default, and takes no patch below 64 voxels."""
    torch.manual_seed(1)
    network = {"blush": lambda: UNet3d(2, 5), "cref": CrefUNet, "localwiener": lambda: GainNet(8)}[arch]()
    if arch == "localwiener":
        torch.nn.init.normal_(network.outc.weight, std=0.1)  # is 0 at first, which no rounding changes
    save_weights(trained / "weights.safetensors", network.state_dict(), card)
    plain = training_config(steps=4)
    shape = plain.network.model_copy(update={"arch": arch, "width": card.width, "depth": card.depth})
    config = plain.model_copy(update={"export_half": True, "network": shape})
    found = load_weights(export(config, trained, store, None, tmp_path / "out"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], tensor.half().float())


def test_weights_beyond_half_precision_are_refused(store: Path, trained: Path, tmp_path: Path) -> None:
    """They would become infinite."""
    loaded = load_weights(trained / "weights.safetensors")
    tensors = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    tensors["outc.weight"][0, 0] = 1e6
    save_weights(trained / "weights.safetensors", tensors, loaded.card)
    config = training_config(steps=4).model_copy(update={"export_half": True})
    with pytest.raises(BlushError, match="cannot be stored in half precision"):
        export(config, trained, store, None, tmp_path / "out")


def test_large_weights_are_written_in_several_files(store: Path, trained: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export_module, "LARGEST_SHARD_BYTES", 20_000)
    path = export(training_config(steps=4), trained, store, None, tmp_path / "out")
    assert path.name == "small.safetensors.index.json"
    assert load_weights(path).sha256 == json.loads((tmp_path / "out" / "manifest.json").read_text())["weights_sha256"]
    assert len(list((tmp_path / "out").glob("*-of-*.safetensors"))) > 1


def test_steps_are_counted_over_stages(store: Path, trained: Path, tmp_path: Path) -> None:
    rows = [(10, 16, 4, 1, 1, 1, 1, 1, 1.0), (20, 24, 2, 1, 1, 1, 1, 1, 7200.0)]
    write_losses(trained / "losses.tsv", rows)
    export(training_config(steps=4), trained, store, None, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["steps"], manifest["patches"], manifest["hours"]) == (20, 60, 2.0)


def test_training_goes_on_from_exported_weights(store: Path, trained: Path, tmp_path: Path) -> None:
    path = export(training_config(steps=4), trained, store, None, tmp_path / "out")
    config = training_config(steps=2, start=path)
    training = Training(config, store, tmp_path / "next", Rank(0, 1, torch.device("cpu")), lambda _: None)
    assert torch.equal(
        training.state.network.state_dict()["outc.bias"], load_weights(path).network.state_dict()["outc.bias"]
    )
    wrong = training_config(steps=2, start=path).model_copy(
        update={"network": config.network.model_copy(update={"width": 8})}
    )
    with pytest.raises(BlushError, match="are of another width or depth; set network to theirs"):
        Training(wrong, store, tmp_path / "next", Rank(0, 1, torch.device("cpu")), lambda _: None)


def test_shipped_weights_are_there_and_say_where_from() -> None:
    assert isinstance(regulariser(RegulariserSettings(name="localwiener")), LocalWiener)
    chosen = regulariser(RegulariserSettings(name="blush", blush=BlushSettings(weights="shipped")))
    weights = load_weights(SHIPPED)
    assert chosen.nyquist_angst == pytest.approx(2 * 2.0)
    assert weights.card.licence == "CC0-1.0"
    assert SHIPPED.stat().st_size < 4_000_000
    manifest = json.loads(SHIPPED.with_name("w8d4.manifest.json").read_text())
    assert manifest["weights_sha256"] == weights.sha256
    models = [m.row for m in read_models(SHIPPED.parents[3] / "config" / "training" / "models.npz")]
    held_out = {row.name for row in models if row.split == "test"} | {
        row.group for row in models if row.split == "test"
    }
    learned = [entry for entry in manifest["entries"] if entry["split"] == "train"]
    assert not {entry["name"].split("_")[0] for entry in learned} & held_out
    assert not {entry["group"] for entry in learned} & held_out
