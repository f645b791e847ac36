"""The same particles refined with each regulariser in turn: same seeds, mask and stopping rule, on one pool of workers.

Every member is an ordinary run in a folder of its own, so it can be continued, watched and reported like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from blush.cluster.client import stop_pool
from blush.cluster.resident import PoolGoneError
from blush.config import RunConfig
from blush.config.regulariser import Name, RegulariserSettings
from blush.errors import BlushError
from blush.io.files import read_record
from blush.jobs import pooled, steps
from blush.jobs.layout import RunFolder
from blush.jobs.settings import conflicts, run_settings, take_up

Notify = Callable[[str], None]
_AFTERWARDS = ("postprocess", "truth")
"""Sections that only postprocessing reads."""


@dataclass(frozen=True)
class Member:
    """One refinement of a comparison."""

    regulariser: str
    seed: int
    config: RunConfig

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.config.name

    @property
    def run(self) -> Path:
        """Its folder, an ordinary run folder."""
        return self.config.run_dir.absolute()


@dataclass(frozen=True)
class Comparison:
    """What is refined: regulariser by regulariser for the first seed, then for the next one."""

    name: str
    folder: Path
    members: tuple[Member, ...]

    @property
    def pool(self) -> Path:
        """Folder of the workers that all members share."""
        return self.folder / ".pool"


def plan_comparison(path: Path, regularisers: Sequence[str], seeds: Sequence[int] = ()) -> Comparison:
    """Read the configuration once for each regulariser; the sections of the file hold the settings of each.

    Parameters
    ----------
    path
        Configuration (YAML); `regulariser.name` and `name` of the runs are replaced.
    seeds
        Empty: the seed of the configuration alone.

    Raises
    ------
    BlushError
        With every mistake about every member, before anything is written or run: settings that one lacks, weights
        that cannot be used, and folders that hold runs of other settings.
    """
    names = list(dict.fromkeys(regularisers))
    if not names:
        raise BlushError("no regularisers are given to compare")
    loaded: dict[str, RunConfig] = {}
    problems: dict[str, list[str]] = {}
    for name in names:
        try:
            loaded[name] = _configuration(path, name)
        except BlushError as error:
            for problem in error.problems or (error.title,):
                problems.setdefault(str(problem), []).append(name)
    members = [
        Member(name, seed, _member_config(config, name, seed))
        for seed in dict.fromkeys(seeds or [config.seed for config in loaded.values()])
        for name, config in loaded.items()
    ]
    for member in members:
        for problem in conflicts(member.config):
            problems.setdefault(str(problem), []).append(member.name)
    if problems:
        told = [text if len(of) == len(names) > 1 else f"{', '.join(of)}: {text}" for text, of in problems.items()]
        raise BlushError(f"the comparison has {len(told)} mistake(s), and nothing was started:", told)
    output = members[0].config.output
    return Comparison(output.name, output.absolute(), tuple(members))


def _configuration(path: Path, name: str) -> RunConfig:
    """The configuration with another regulariser, which can be made from it."""
    from blush.regularise.select import regulariser

    if name not in get_args(Name):
        raise BlushError(f"there is no such regulariser; known are {', '.join(get_args(Name))}")
    config = run_settings(path, {"regulariser": {"name": name}})
    regulariser(config.regulariser)
    return config


def _member_config(config: RunConfig, name: str, seed: int) -> RunConfig:
    """Configuration of one member; sections of other regularisers are left out, so that they may change later."""
    given = config.regulariser
    kept: dict[str, Any] = {
        key: getattr(given, key) for key in ("name", "starts", "fallback", *given.used) if hasattr(given, key)
    }
    changes = {
        "name": f"{name}_seed{seed}",
        "output": config.output / f"{config.name}_comparison",
        "seed": seed,
        "regulariser": RegulariserSettings(**kept),
    }
    return config.model_copy(update=changes)


def import_members(comparison: Comparison) -> None:
    """Check and freeze the input of every member that has not been, before any is refined.

    Raises
    ------
    BlushError
        With every mistake in the inputs, which all members share.
    """
    for member in comparison.members:
        if _stale_results(member):
            (member.run / "summary.json").unlink()
        if not take_up(member.config):
            steps.import_run(member.config)


def _stale_results(member: Member) -> bool:
    """Whether postprocessing was done with other settings than it is to have now."""
    imported = RunFolder(member.run).imported / "config.json"
    if not imported.exists() or not (member.run / "summary.json").exists():
        return False
    known, wanted = read_record(imported), member.config.model_dump(mode="json")
    return any(known.get(key) != wanted[key] for key in _AFTERWARDS)


def is_finished(member: Member) -> bool:
    """Whether nothing is left to do but the report."""
    state = steps.latest_state(member.run)
    return state is not None and state.converged and (member.run / "summary.json").exists()


def refine_member(member: Member, pool: Path, notify: Notify) -> Path:
    """Refine one imported member to its end, from whatever is on disk; a finished one is left as it is.

    Returns
    -------
    The run folder.

    Raises
    ------
    BlushError
        If it cannot be done, or the pool went away.
    """
    run = member.run
    try:
        if not is_finished(member):
            _refine(run, pool, notify)
    except PoolGoneError as error:
        raise BlushError(f"{error}; the same command continues") from None
    return run


def _refine(run: Path, pool: Path, notify: Notify) -> None:
    """The steps of `autorefine`, all but the short ones on the workers."""
    state = steps.latest_state(run)
    if state is None:
        pooled.start(run, notify, pool)
        state = steps.latest_state(run)
    while state is not None and not state.converged:
        iteration = state.iteration + 1
        pooled.all_sums(run, iteration, notify, pool)
        pooled.denoise_and_trail(run, iteration, notify, pool)
        state = steps.converge(run, iteration)
    pooled.postprocess(run, notify, pool)


@contextmanager
def shared_pool(comparison: Comparison) -> Iterator[Path]:
    """The pool that the first task starts and that ends here, however the work ends."""
    try:
        yield comparison.pool
    finally:
        stop_pool(comparison.pool)
