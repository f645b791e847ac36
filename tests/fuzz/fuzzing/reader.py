"""What a reader is to the harness: valid examples, how it is called, how its files are changed, what it may raise."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.errors import BlushError
from fuzzing.mutate import LARGEST_BYTES, Mutator

LONGEST_MESSAGE = 50_000
"""Characters of a refusal that somebody is to read."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Parameters
    ----------
    file
        Name of the file that a case is written to.
    corpus
        Writes what has to lie beside that file into a folder, and gives valid contents of the file.
    call
        Reads the file; raises AssertionError where what it accepted is no valid value.
    mutators
        What changes a content; each is drawn as often as it is listed.
    share
        Cases of a campaign, relative to the other readers: many for readers that take a tenth of a millisecond.
    refusals
        What it may raise.
    hostile
        Beginnings of the names of collected hostile files that it reads.
    names_file
        Whether a refusal has to name the file; it may name another that the file names, or an address.
    """

    name: str
    file: str
    corpus: Callable[[Path], Sequence[bytes]]
    call: Callable[[Path], object]
    mutators: tuple[Mutator, ...]
    share: float = 1.0
    refusals: tuple[type[Exception], ...] = (BlushError,)
    hostile: tuple[str, ...] = ()
    names_file: bool = True

    def examples(self, folder: Path, collected: Path | None) -> list[bytes]:
        """Valid contents, with the surroundings written to `folder`, and collected hostile ones after them."""
        folder.mkdir(parents=True, exist_ok=True)
        found = list(self.corpus(folder))
        if collected is not None and collected.is_dir():
            paths = sorted(path for path in collected.iterdir() if path.name.startswith(self.hostile or ("\0",)))
            found += [path.read_bytes() for path in paths]
        return found

    def case(self, examples: Sequence[bytes], seed: int, number: int) -> bytes:
        """Content of a case: the examples as they are first, then changed ones."""
        if number < len(examples):
            return examples[number]
        random = np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])
        content = examples[int(random.integers(len(examples)))]
        for _ in range(min(int(random.geometric(0.5)), 5)):
            mutator = self.mutators[int(random.integers(len(self.mutators)))]
            content = mutator(random, content, examples)
            if len(content) > LARGEST_BYTES:
                content = content[:LARGEST_BYTES]
        return content

    def checked(self, path: Path) -> bool:
        """Read the file: whether it was accepted.

        Raises
        ------
        Exception
            What a reader may not raise, or AssertionError for a wrong value or a useless refusal.
        """
        try:
            self.call(path)
        except self.refusals as refusal:
            text = str(refusal)
            assert text.strip(), "a refusal without a word"
            assert len(text) <= LONGEST_MESSAGE, f"a refusal of {len(text)} characters"
            assert not self.names_file or path.name in text, f"a refusal that does not name the file: {text[:300]}"
            return False
        return True


def finite(*arrays: np.ndarray) -> bool:
    """Whether all values of all arrays are numbers."""
    return all(bool(np.isfinite(array).all()) for array in arrays)
