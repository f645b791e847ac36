"""Training: it learns, it goes on where it was, with the same numbers, and says what is wrong."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import training_config

from blush.config.training import Fit
from blush.denoise.weights import load_weights
from blush.errors import BlushError
from blush.training import checkpoint, losses
from blush.training.batches import Batch
from blush.training.checkpoint import COLUMNS, LOSSES
from blush.training.fit import EXAMPLES, WEIGHTS, Training, build_network, fit
from blush.training.ranks import Rank, devices
from blush.training.schedule import learning_rate, recursions, stage_at
from blush.training.tasks import task

CPU = torch.device("cpu")


def quiet(_: str) -> None:
    """Say nothing."""


def table(folder: Path) -> np.ndarray:
    """Losses but for the last column, seconds."""
    return np.loadtxt(folder / LOSSES, skiprows=1, ndmin=2)[:, :-1]


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that ran through."""
    folder = tmp_path_factory.mktemp("whole")
    fit(training_config(), store, folder, quiet)
    return folder


def test_results_are_complete(whole: Path) -> None:
    assert (whole / LOSSES).read_text().splitlines()[0] == "\t".join(COLUMNS)
    rows = table(whole)
    assert rows[:, 0].tolist() == list(range(1, 25))
    assert rows[:, 1].tolist() == [16] * 12 + [24] * 12
    assert np.isfinite(rows).all()
    weights = load_weights(whole / WEIGHTS)
    assert (weights.card.width, weights.card.depth, weights.card.voxel_size_angst) == (4, 3, 2.0)
    assert "24 of 24 steps, 72 patches" in weights.card.source
    examples = np.load(whole / EXAMPLES)
    assert examples["input"].shape == examples["denoised"].shape == examples["target"].shape == (4, 24, 24)


def interrupted(config: object, store: Path, folder: Path, after: int) -> None:
    """Train some steps, save, and lose all that was in memory."""
    training = Training(config, store, folder, Rank(0, 1, CPU), quiet)  # type: ignore[arg-type]

    class Killed(Exception):
        """Stands for kill -9."""

    plain = training.step

    def step(number: int, batch: Batch) -> torch.Tensor:
        if number == after + 3:
            raise Killed
        made = plain(number, batch)
        return made

    training.step = step  # type: ignore[method-assign]
    record = training._record

    def recorded(number: int, seconds: float) -> None:
        record(number, seconds)
        if number + 1 == after:
            training.save()

    training._record = recorded  # type: ignore[method-assign]
    with pytest.raises(Killed):
        training.run()


def test_resumed_training_gives_the_same_bytes(store: Path, whole: Path, tmp_path: Path) -> None:
    config = training_config()
    for after in (7, 15):  # in both stages
        interrupted(config, store, tmp_path, after)
    said: list[str] = []
    fit(config, store, tmp_path, said.append)
    assert said[0] == "goes on from step 15 of 24"
    assert np.array_equal(table(tmp_path), table(whole))
    assert (tmp_path / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_finished_training_is_left_alone(store: Path, whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    fit(training_config(), store, whole, quiet)
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_what_a_cluster_gives_does_not_decide_the_numbers() -> None:
    one, two = (checkpoint.fingerprint(training_config(gpus=count), b"") for count in (1, 4))
    assert one == two
    assert one != checkpoint.fingerprint(training_config(learning_rate=0.5), b"")


def test_machines_are_noted_once_each(tmp_path: Path) -> None:
    assert checkpoint.machines(tmp_path) == []
    for processes in (1, 2, 1):
        checkpoint.note_machine(tmp_path, torch.device("cpu"), processes)
    here = f"CPU, {platform.machine()}"
    assert checkpoint.machines(tmp_path) == [f"{here}, 1 process", f"{here}, 2 processes"]


def test_patches_made_beside_are_the_same(store: Path, whole: Path, tmp_path: Path) -> None:
    fit(training_config(loaders=1), store, tmp_path, quiet)
    assert (tmp_path / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_two_processes_learn_what_one_does(store: Path, whole: Path, tmp_path: Path) -> None:
    """Without dropout, whose draws belong to a process; gradients are averaged, so that only rounding differs."""
    network = training_config().network.model_copy(update={"dropout": 0.0})
    one = training_config(steps=6).model_copy(update={"network": network})
    two = training_config(steps=6, processes=2).model_copy(update={"network": network})
    fit(one, store, tmp_path / "one", quiet)
    fit(two, store, tmp_path / "two", quiet)
    np.testing.assert_allclose(table(tmp_path / "two"), table(tmp_path / "one"), rtol=2e-3)
    first, second = (load_weights(tmp_path / name / WEIGHTS).network.state_dict() for name in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-2, atol=1e-3)


SCRIPT = """
import sys
from pathlib import Path
import torch
from training_problem import training_config
from blush.training.fit import fit
torch.set_num_threads(1)
fit(training_config(steps=24, checkpoint_minutes=1e-3), Path(sys.argv[1]), Path(sys.argv[2]), print)
"""


def test_killed_training_ends_with_the_same_bytes(store: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    def run(folder: Path, seconds: float | None) -> int:
        command = [sys.executable, "-c", SCRIPT, str(store), str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        if seconds is not None:
            while not (folder / LOSSES).exists() and process.poll() is None:
                time.sleep(0.02)
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        return process.wait()

    assert run(tmp_path / "whole", None) == 0
    assert run(tmp_path / "killed", 0.2) == -signal.SIGKILL
    assert run(tmp_path / "killed", None) == 0
    assert np.array_equal(table(tmp_path / "killed"), table(tmp_path / "whole"))
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_other_settings_do_not_go_on(store: Path, tmp_path: Path) -> None:
    fit(training_config(steps=2), store, tmp_path, quiet)
    with pytest.raises(BlushError, match=r"checkpoint.pt: was made with other settings or other maps; restore"):
        fit(training_config(steps=3), store, tmp_path, quiet)


def test_maps_of_another_voxel_size_are_refused(store: Path, tmp_path: Path) -> None:
    config = training_config()
    network = config.network.model_copy(update={"voxel_size_angst": 1.5})
    with pytest.raises(BlushError, match=r"index.json: holds maps of 2 Å per voxel, the network is for 1.5 Å"):
        fit(config.model_copy(update={"network": network}), store, tmp_path, quiet)


def test_missing_gpu_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BlushError, match="no CUDA device"):
        devices(training_config(device="cuda:0"))


def test_batches_that_cannot_be_shared_are_told() -> None:
    with pytest.raises(BlushError, match="shared equally by 3 processes"):
        devices(training_config(processes=3))


def test_it_learns(store: Path, tmp_path: Path) -> None:
    """A step's error on patches that stay the same falls by a fifth and more."""
    config = training_config(steps=80, stages=[{"share": 1.0, "block_px": 16, "batch": 4}], recursion=[1.0])
    made = task(config, store, CPU)
    fixed = [made.batch(10**6 + step, 16, range(4)) for step in range(6)]

    def error(network: torch.nn.Module) -> float:
        with torch.no_grad():
            return float(np.mean([float(losses.blush_loss(network, batch, 0, 0.0)[1]) for batch in fixed]))

    before = error(build_network(config).eval())
    fit(config, store, tmp_path, quiet)
    assert error(load_weights(tmp_path / WEIGHTS).network) < 0.8 * before


def test_schedule() -> None:
    settings = Fit(steps=1000, warmup_steps=99, learning_rate=1e-3, last_learning_rate=1e-5, recursion_from=0.5,
                   recursion=(0.5, 0.5))  # fmt: skip
    assert learning_rate(settings, 0) == pytest.approx(1e-5)
    assert learning_rate(settings, 500) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(settings, 1000) == pytest.approx(1e-5)
    assert {recursions(settings, 1, step) for step in range(499)} == {0}
    assert np.mean([recursions(settings, 1, step) for step in range(500, 1000)]) == pytest.approx(0.5, abs=0.07)
    assert stage_at(training_config().fit, 11).block_px == 16
    assert stage_at(training_config().fit, 12).block_px == 24


def batch_of(first: torch.Tensor, second: torch.Tensor) -> Batch:
    ones = torch.ones_like(first)
    return Batch(torch.stack([first, ones], 1), first, ones, ones, second)


def test_cref_loss_of_the_identity_is_what_c_ref_lacks_of_1() -> None:
    random = torch.Generator().manual_seed(1)
    signal, one, two = (torch.randn((2, 16, 16, 16), generator=random) for _ in range(3))
    found, _, _ = losses.cref_loss(torch.nn.Identity(), batch_of(signal + one, signal + two))
    curve = losses.shell_correlation(signal + one, signal + two).abs()
    wanted = torch.trapezoid(1 - (2 * curve / (1 + curve)).sqrt(), dx=1 / 7).mean()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    none, _, _ = losses.cref_loss(torch.nn.Identity(), batch_of(signal, signal))
    assert float(none) < 1e-5  # equal halves hold no noise


def test_shells_of_cref_are_counted_outwards() -> None:
    """A plane wave in one map and a louder one of another shell: each shell correlates by itself."""
    x = torch.arange(16) * 2 * torch.pi / 16
    wave = (torch.cos(3 * x)[None, None, None] + torch.zeros(1, 16, 16, 16)).float()
    other = wave + 5 * torch.cos(6 * x)[None, None, :, None]
    curve = losses.shell_correlation(wave, other)[0]
    assert curve.shape == (8,)
    assert curve[2] == pytest.approx(1, abs=1e-5)  # 2 < r <= 3
    assert curve[5] == pytest.approx(0, abs=1e-5)


def test_recursion_feeds_the_output_back_without_gradient(store: Path) -> None:
    config = training_config()
    batch = task(config, store, CPU).batch(1, 16, range(2))
    network = build_network(config)
    again = losses.recursed(network, batch, 1)
    assert again.shape == batch.inputs.shape
    assert not again.requires_grad
    assert not torch.equal(again[:, 0], batch.inputs[:, 0])
    zero = build_network(config)
    torch.nn.init.zeros_(zero.outc.weight)  # type: ignore[attr-defined]
    torch.nn.init.zeros_(zero.outc.bias)  # type: ignore[attr-defined]
    torch.testing.assert_close(losses.recursed(zero, batch, 3)[:, 0], batch.inputs[:, 0] * batch.seen**3)


def test_crefdenoiser_learns_from_the_same_maps(store: Path, tmp_path: Path) -> None:
    config = training_config(steps=12, stages=[{"share": 1.0, "block_px": 32, "batch": 2}], recursion=[1.0])
    config = config.model_copy(update={"network": config.network.model_copy(update={"arch": "cref", "dropout": 0.0})})
    fit(config, store, tmp_path, quiet)
    rows = table(tmp_path)
    assert rows[-4:, 3].mean() < rows[:4, 3].mean()
    weights = load_weights(tmp_path / WEIGHTS)
    assert (weights.card.arch, weights.card.voxel_size_angst, weights.n_parameters) == ("cref-unet", None, 322_881)
