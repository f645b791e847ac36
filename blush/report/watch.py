"""What a run is doing now, from its files alone: works over ssh, on any executor, for live and dead runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from blush.cluster.holder import Holder, holder_of
from blush.errors import BlushError, Problem
from blush.io.files import as_written, load_npz
from blush.jobs.body_runs import whole_of
from blush.jobs.layout import RunFolder
from blush.jobs.progress import Record, progress_of
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State, load_state
from blush.report.run_data import unchanged
from blush.report.timing import duration

SILENT_SECONDS = 300.0
_EXPECTATION = ("expectation", "shard")


@dataclass(frozen=True)
class Status:
    """A moment of a run.

    Attributes
    ----------
    iteration
        The one that is being worked on; the last one when the run is done.
    stage
        What was logged last in it; "waiting" before anything was.
    done, total
        Particles through the expectation step of this iteration, and all.
    seconds_left
        Those of this iteration's expectation step at its present pace; None before there is one. How many iterations
        are to come, nobody knows.
    silent_seconds
        Since the last line of the log.
    gave_up
        Whether the run stopped at the largest number of iterations, before it converged.
    holder
        The process that works on the run, or the last that did.
    body
        Name of the one whose turn it is, in a run of several bodies.
    """

    iteration: int
    stage: str
    done: int
    total: int
    seconds_left: float | None
    silent_seconds: float
    refined: bool
    finished: bool
    classifies: bool
    gave_up: bool = False
    holder: Holder | None = None
    body: str = ""

    @property
    def is_dead(self) -> bool:
        """Whether the run has more to do, and its process is no more."""
        return not self.finished and self.holder is not None and self.holder.lives is False


@dataclass
class Watcher:
    """Follows a run folder; keeps what it has read, so a look costs only what was appended since."""

    root: Path
    states: list[State] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    _offset: int = 0
    _total: int = 0
    _told: int = 0

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            problem = Problem("is not a folder", "give the folder output/name of a run", file=str(self.root))
            raise BlushError("cannot watch", [problem])

    def look(self, now: float) -> Status:
        """Read what is new and say where the run is; `now` is the time in seconds since the epoch."""
        folder = RunFolder(self.root)
        self._read_log(folder.progress)
        while (path := folder.state(len(self.states))).exists():
            self.states.append(load_state(unchanged(path)))
        if not self._total and (folder.imported / "plan.npz").exists():
            plan = load_npz(unchanged(folder.imported / "plan.npz"))
            with as_written(folder.imported / "plan.npz"):
                self._total = sum(len(rows) for name, rows in plan.items() if name.startswith("rows_"))
        refined = bool(self.states) and bool(self.states[-1].converged)
        iteration = len(self.states) - refined if self.states else 0
        mine = [record for record in self.records if record.get("iteration") == iteration]
        done, left = _pace(mine, self._total)
        return Status(
            iteration=iteration,
            stage=_stage(mine, refined),
            done=done,
            total=self._total,
            seconds_left=left,
            silent_seconds=now - float(self.records[-1]["time"]) if self.records else 0.0,
            refined=refined,
            finished=refined and (self.root / "summary.json").exists(),
            classifies=bool(self.states) and self.states[-1].facts.job == "classify",
            gave_up=refined and self.states[-1].stop_reason == "max_iterations",
            holder=holder_of(whole_of(self.root)),
        )

    def new_lines(self) -> list[str]:
        """A line about each iteration that was finished since this was asked for last."""
        known = max(1, self._told)
        self._told = len(self.states)
        return [state_line(*pair) for pair in zip(self.states[known - 1 :], self.states[known:], strict=False)]

    @property
    def reached(self) -> tuple[str, str]:
        """Number of the last iteration, and what it resolves, in words; empty before there is one."""
        last = self.states[-1] if self.states else None
        found = f"{last.resolution_angst:.2f} Å" if last is not None and last.iteration > 0 else ""
        return "" if last is None else str(last.iteration), found

    @property
    def last_heard(self) -> float:
        """Time of the last line of the log, in seconds since the epoch; 0 before there was one."""
        return float(self.records[-1]["time"]) if self.records else 0.0

    def _read_log(self, path: Path) -> None:
        """Append complete new lines; records of iterations before the last two are dropped."""
        if not path.exists():
            return
        with path.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            record = progress_of(line)
            if record is not None:
                self.records.append(record)
        newest = max((int(record.get("iteration", 0)) for record in self.records), default=0)
        self.records = [r for r in self.records if int(r.get("iteration", 0)) >= newest - 1]


def _stage(records: list[Record], refined: bool) -> str:
    if refined:
        finishing = [r["stage"] for r in records if r["stage"] == "postprocess"]
        return "report" if finishing else "postprocess"
    if not records:
        return "waiting"
    stage = str(records[-1]["stage"])
    return "expectation" if stage in _EXPECTATION else stage


def _pace(records: Iterable[Record], total: int) -> tuple[int, float | None]:
    """Particles done in an iteration, and seconds left at the pace since its first record began."""
    latest = {(r.get("subset"), r.get("shard")): r for r in records if r["stage"] in _EXPECTATION}
    done = sum(int(record.get("done", 0)) for record in latest.values())
    if not done or not total:
        return done, None
    start = min(float(r["time"]) - float(r.get("seconds", 0.0)) for r in latest.values())
    elapsed = max(float(r["time"]) for r in latest.values()) - start
    return done, elapsed * (total - done) / done


def status_parts(status: Status) -> tuple[str, str]:
    """What a run is doing, and how far it is."""
    ending = ", not converged" if status.gave_up else ""
    if status.finished:
        return f"finished after iteration {status.iteration}{ending}", ""
    if status.refined:
        done = "classified" if status.classifies else "refined"
        return f"{done} in {status.iteration} iterations{ending}, {status.stage} to come", _silence(status)
    where = f"{status.body}{status.body and ' '}it {status.iteration:03d} {status.stage}"
    parts = [f"{status.done}/{status.total} particles"] if status.total else []
    if status.seconds_left is not None and status.done < status.total:
        parts.append(f"{duration(status.seconds_left)} left of this step")
    if status.is_dead:
        return where, ", ".join([*parts[:1], _silence(status)])
    silence = _silence(status)
    return where, ", ".join([*parts, silence] if silence else parts)


def status_line(status: Status) -> str:
    """One line about the iteration at work."""
    return "  ".join(part for part in status_parts(status) if part)


def _silence(status: Status) -> str:
    """What is known of a run that says nothing: that it is dead, or for how long."""
    if status.is_dead:
        return f"dead: {status.holder} has ended; the same command continues the run"
    if status.silent_seconds < SILENT_SECONDS:
        return ""
    return f"nothing logged for {duration(status.silent_seconds)}"


def state_line(used: State, state: State) -> str:
    """One line about a finished iteration: what it found, and the sampling it used."""
    if state.facts.job == "classify":
        return _class_line(used, state)
    search, references = used.search, state.references
    degrees, angstroms = references.best_accuracy_rotation_deg, references.best_accuracy_offset_angst
    known = degrees is not None and angstroms is not None
    accuracy = f"  accuracy {degrees:.2f}° {angstroms:.2f} Å" if known else ""
    step_deg = angular_step_deg(search.healpix_order, search.oversampling)
    return (
        f"it {state.iteration:03d} {state.resolution_angst:7.2f} Å  {'local' if search.local else 'global'} "
        f"{step_deg:.2g}° {search.current_size_px} px  P max {state.average_pmax:.2f}{accuracy}"
        + ("  (final, both halves joined)" if used.final else "")
    )


def _class_line(used: State, state: State) -> str:
    """One line about an iteration of a classification: sizes of the classes, and how many images changed class."""
    search = "given poses" if used.search.fixed else "local" if used.search.local else "global"
    shares = " ".join(f"{100 * share:.1f}" for share in state.references.share)
    changed = "" if state.change_class is None else f"  changed {100 * state.change_class:.1f} %"
    return (
        f"it {state.iteration:03d} {state.resolution_angst:7.2f} Å  {search} {used.search.current_size_px} px  "
        f"classes {shares} %{changed}  P max {state.average_pmax:.2f}"
    )
