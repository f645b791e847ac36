"""Changes of a valid file: of its bytes, its lines and words, its header, or what is packed in it.

Every change takes numpy's generator, the content, and other examples to take parts from; equal seeds change alike.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

from numpy.random import Generator

Mutator = Callable[[Generator, bytes, Sequence[bytes]], bytes]

LARGEST_BYTES = 1 << 16
"""Cases are small, so that many can be tried."""
_PIECES = re.compile(rb"[^\s,:{}\[\]\"=]+|[\s,:{}\[\]\"=]+")

ODD_WORDS = (
    b"", b"0", b"-1", b"1", b"2", b"3.5", b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"1e308", b"-1e308", b"1e999",
    b"1e-320", b"0x10", b"1_2", b"007", b"+5", b"1.", b".5", b"--", b"1e", b"2147483647", b"-2147483648",
    b"2147483648", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"9" * 64,
    b"9" * 400, b"9" * 5000, b"1" + b"0" * 100, b"\xd9\xa3", b"\xef\xbc\x91", b"\xc2\xb2", b"\xff", b"\xfe\xff",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\0", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b", b"\r", b"\t",
    b" ", b"#", b"# x", b"'", b'"', b"'a b'", b'"a b"', b"'a", b'a"', b"a'b", b"''", b'"" ', b";", b"$", b"data_",
    b"data_optics", b"data_particles", b"data_x", b"loop_", b"save_", b"global_", b"_", b"_x", b"_rlnImageName",
    b"_rlnOpticsGroup #2", b"@", b"1@", b"@m.mrcs", b"000000@m.mrcs", b"7@m.mrcs", b"1@2@m.mrcs", b"-1@m.mrcs",
    b"1@" + b"a" * 300, b"1@..", b"1@/", b"1@.", b"/", b".", b"..", b"~", b"../../x", b"/dev/zero", b"/dev/full",
    b"/proc/self/mem", b"a" * 300, b"a" * 5000, b"b/" * 3000, b"null", b"true", b"false", b"None", b"yes", b"~", b"[]",
    b"{}", b"[", b"]", b"{", b"}", b"[1,2,", b"[" * 2000, b"{a: " * 500, b"[0.1,x]", b"[nan,inf]", b":", b",", b"- ",
    b"&a", b"*a", b"!!python/object:os.system", b"!!binary aGk=", b"!!timestamp 2001-01-01", b"!!set {a}",
    b"!!float .inf", b"<<", b"? ", b"|", b">", b"%", b"---", b"...", b"1:2:3", b"2001-01-01", b"EMD-1", b"C0", b"C999",
    b"D999", b"I5", b"O", b"D4", b"auto", b"sphere", b"shipped", b"-0", b"-0.0", b"1e5", b"1,2", b"\\", b"\\u0000",
    b"\\ud800", b"%s", b"x" * 63 + b"1", b"\n", b"\n\n", b"\r\n",
)  # fmt: skip

_ODD_INTEGERS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64, 101, 255, 256, 400, 401, 402, 1023, 1024, 4096, 10_000, 65_535, 65_536,
    100_000, 999_999_999, 1_000_000_000, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 2, 0x44440000, 0x00004444,
    0x11110000, 0x00001111, 0x20504D41, 0x4D415020, 1146047817, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F7FFFFF, 1 << 23,
)  # fmt: skip


def _place(random: Generator, content: bytes) -> int:
    return int(random.integers(len(content) + 1))


def _span(random: Generator, content: bytes) -> tuple[int, int]:
    """Begin and end of a piece, more often short than long."""
    start = _place(random, content)
    length = int(2 ** random.uniform(0, 10))
    return start, min(len(content), start + length)


def flip_bit(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """One bit is another."""
    if not content:
        return content
    place = int(random.integers(len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]


def set_bytes(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """A few bytes become any others, or a run of one."""
    start, stop = _span(random, content)
    stop = min(stop, start + 64)
    fill = (random.bytes(stop - start), bytes(stop - start), b"\xff" * (stop - start))[int(random.integers(3))]
    return content[:start] + fill + content[stop:]


def cut(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return content[: _place(random, content)]


def delete(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """A piece is missing."""
    start, stop = _span(random, content)
    return content[:start] + content[stop:]


def repeat(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """A piece is there twice."""
    start, stop = _span(random, content)
    return content[:stop] + content[start:stop] + content[stop:]


def insert(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """Odd words, or any bytes, stand in between."""
    place = _place(random, content)
    odd = ODD_WORDS[int(random.integers(len(ODD_WORDS)))] if random.random() < 0.7 else random.bytes(4)
    return content[:place] + odd + content[place:]


def splice(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
    """The beginning of this one and the end of another."""
    other = others[int(random.integers(len(others)))]
    return content[: _place(random, content)] + other[_place(random, other) :]


def set_word(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """Four or eight aligned bytes become an odd number, of either byte order, an integer or a float."""
    if len(content) < 8:
        return content
    place = int(random.integers(len(content) // 4 - 1)) * 4
    return _with_number(random, content, place)


def _with_number(random: Generator, content: bytes, place: int) -> bytes:
    order, kind = "<>"[int(random.integers(2))], int(random.integers(3))
    value = _ODD_INTEGERS[int(random.integers(len(_ODD_INTEGERS)))]
    if kind == 0:
        word = struct.pack(f"{order}I", value)
    elif kind == 1:
        word = struct.pack(f"{order}f", (value, -1.0, 0.5, 1e38, float("nan"), float("inf"))[int(random.integers(6))])
    else:
        word = struct.pack(f"{order}Q", (value, value << 32, 2**63 - 1, 2**64 - 1)[int(random.integers(4))])
    return content[:place] + word + content[place + len(word) :]


def set_header_word(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
    """One of the 56 words of an MRC header becomes an odd number; mostly in the file's own byte order."""
    if len(content) < 232:
        return content
    place = 4 * int(random.integers(56))
    if random.random() < 0.7:
        value = _ODD_INTEGERS[int(random.integers(len(_ODD_INTEGERS)))]
        order = ">" if content[212:213] == b"\x11" else "<"
        return content[:place] + struct.pack(f"{order}I", value) + content[place + 4 :]
    return _with_number(random, content, place)


def change_word(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
    """A word of a text becomes an odd one, or one of another place."""
    pieces = _PIECES.findall(content)
    if not pieces:
        return ODD_WORDS[int(random.integers(len(ODD_WORDS)))]
    place = int(random.integers(len(pieces)))
    if random.random() < 0.75:
        pieces[place] = ODD_WORDS[int(random.integers(len(ODD_WORDS)))]
    else:
        pieces[place] = pieces[int(random.integers(len(pieces)))]
    return b"".join(pieces)


def change_lines(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
    """Lines are lost, there twice, in another order, joined, of another file, or only half there."""
    lines = content.split(b"\n")
    first, second = (int(random.integers(len(lines))) for _ in range(2))
    action = int(random.integers(9))
    if action == 0:
        del lines[first]
    elif action == 1:
        lines.insert(second, lines[first])
    elif action == 2:
        lines[first], lines[second] = lines[second], lines[first]
    elif action == 3:
        lines[first : first + 2] = [b" ".join(lines[first : first + 2])]
    elif action == 4:
        theirs = others[int(random.integers(len(others)))].split(b"\n")
        lines.insert(first, theirs[int(random.integers(len(theirs)))])
    elif action == 5:
        lines[first] = lines[first][: _place(random, lines[first])]
    elif action == 6:
        lines.insert(first, ODD_WORDS[int(random.integers(len(ODD_WORDS)))])
    elif action == 7:
        lines[min(first, second) : max(first, second)] = []
    else:
        lines[min(first, second) : max(first, second)] *= 2
    return b"\n".join(lines)


def change_column(random: Generator, content: bytes, _: Sequence[bytes]) -> bytes:
    """A word at one place of every line is lost, doubled or replaced, or ends of lines are others."""
    action, place = int(random.integers(5)), int(random.integers(12))
    if action == 4:
        return content.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b" # end\n", b"\t\n")[int(random.integers(5))])
    odd = ODD_WORDS[int(random.integers(len(ODD_WORDS)))]
    changed = []
    for line in content.split(b"\n"):
        words = line.split()
        if len(words) > max(place, 3):
            words[place : place + 1] = ([], [words[place]] * 2, [odd], [words[place], odd])[action]
            line = b" ".join(words)
        changed.append(line)
    return b"\n".join(changed)


BYTES: tuple[Mutator, ...] = (flip_bit, set_bytes, cut, delete, repeat, insert, splice, set_word)
LINES: tuple[Mutator, ...] = (change_word, change_word, change_lines, change_lines, change_column)


def within_gzip(*mutators: Mutator) -> Mutator:
    """A change of what is packed in a gzip file; of its bytes where it is none."""

    def change(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
        mutator = mutators[int(random.integers(len(mutators)))]
        try:
            inner = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return mutator(random, content, others)
        return gzip.compress(mutator(random, inner, [inner]), 1, mtime=0)

    return change


def within_zip(*mutators: Mutator) -> Mutator:
    """A change of one member of a zip archive, of its name or its compression, with fitting checksums."""

    def change(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
                comment = archive.comment
        except Exception:  # whatever an earlier change made of it
            return mutators[int(random.integers(len(mutators)))](random, content, others)
        if not members:
            return content
        place, action = int(random.integers(len(members))), random.random()
        name, inner = members[place]
        if action < 0.8:
            members[place] = name, mutators[int(random.integers(len(mutators)))](random, inner, [inner])
        elif action < 0.87:
            del members[place]
        elif action < 0.94:
            members[place] = name, members[int(random.integers(len(members)))][1]
        else:
            members[place] = ODD_WORDS[int(random.integers(len(ODD_WORDS)))].decode("latin-1")[:200], inner
        return _zipped(members, comment, int(random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))

    return change


def _zipped(members: Sequence[tuple[str, bytes]], comment: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name), inner, method)
        archive.comment = comment
    return stream.getvalue()
