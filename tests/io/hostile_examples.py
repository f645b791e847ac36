"""Small hostile files, made here: for each reader the kinds of damage and malice that it has to tell."""

import gzip
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blush.refine.control import ControlSettings
from blush.refine.start import FirstSampling, ParticleGeometry, first_state

DEEP = 100_000


@dataclass(frozen=True)
class Example:
    """One file.

    Attributes
    ----------
    told
        What the error has to say.
    file
        What it has to name; empty: the file itself.
    """

    make: Callable[[], bytes]
    told: str
    file: str = ""


def text(content: str, told: str, file: str = "") -> Example:
    return Example(content.encode, told, file)


def json_files() -> dict[str, Example]:
    """Faults of JSON as such, fed as a state, as an index of weights and as the address of a pool."""
    faults = {
        "bytes": Example(lambda: b'{"a": "\xff"}', "cannot be read as JSON"),
        "deep": text("[" * DEEP, "nested too deeply"),
        "deepobjects": text('{"a":' * DEEP, "nested too deeply"),
        "nan": text('{"a": NaN}', "holds NaN"),
        "infinity": text('{"a": -Infinity}', "holds -Infinity"),
        "huge": text('{"a": 1e999}', "beyond what can be held"),
        "digits": text('{"a": ' + "9" * 5000 + "}", "has 5000 digits"),
        "int64": text('{"a": 9223372036854775808}', "has 19 digits"),
        "twice": text('{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        "surrogate": text('{"a": "\\ud800"}', "half of a character"),
        "cut": text('{"a": [1, 2', "cannot be read as JSON"),
        "empty": text("", "cannot be read as JSON"),
        "list": text("[1]", "is not a JSON object"),
        "containers": text("[" + "[]," * 1_100_000 + "[]]", "lists and objects"),
    }
    return {
        f"{kind}-{name}.bin": made for kind in ("state", "weights_index", "poolfile") for name, made in faults.items()
    }


def states() -> dict[str, Example]:
    """A state of which one member, by its path, is something else; None takes it away."""
    noise, geometry = np.ones((2, 1, 9)), ParticleGeometry(16, 3.0, 40.0, "C1", n_groups=2)
    valid = json.dumps(
        first_state(geometry, FirstSampling(), ControlSettings(), noise, seed=3, first_cc=True).as_json()
    )

    def changed(path: str, value: object, message: str) -> Example:
        values = inner = json.loads(valid)
        *parents, name = path.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[name] = value
        if value is None:
            del inner[name]
        return text(json.dumps(values), message)

    return {
        "state-facts.bin": changed("facts", None, "facts is no JSON object"),
        "state-job.bin": changed("facts.job", "x" * 1000, "not one of refine"),
        "state-settings.bin": changed("control.settings", None, "control.settings is missing"),
        "state-settingslist.bin": changed("control.settings", [], "control.settings is no JSON object"),
        "state-text.bin": changed("iteration", "3", "iteration is '3', not int"),
        "state-textarray.bin": changed("references.fsc", ["nan"], "references.fsc holds something else"),
        "state-ragged.bin": changed("references.fsc", [[1], 2], "inhomogeneous"),
        "state-shape.bin": changed("references.fsc", [[1.0]], "references.fsc has 1 shells, but 9 are expected"),
        "state-lost.bin": changed("images.noise", None, "images.noise is missing"),
        "state-unknown.bin": changed("search.range", 1, "search.range is unknown"),
        "state-version.bin": changed("algorithm_version", 10**17, "algorithm version 100000000000000000"),
    }


def archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for name, content in members:
            made.writestr(name, content)
    return stream.getvalue()


def array_bytes(values: np.ndarray, **header: str) -> bytes:
    """An array as it is stored, with parts of its header replaced by others of any length."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values)
    raw = stream.getvalue()
    length = struct.unpack("<H", raw[8:10])[0]
    fields = raw[10 : 10 + length].decode().rstrip()
    for old, new in header.items():
        fields = fields.replace({"shape": "(3,)", "descr": "<f8"}[old], new)
    return raw[:8] + struct.pack("<H", len(fields) + 1) + fields.encode() + b"\n" + raw[10 + length :]


def npz_files() -> dict[str, Example]:
    plain = array_bytes(np.zeros(3))
    good = archive([("a.npy", plain)])
    return {
        "npz-cut.bin": Example(lambda: good[:-30], "not a zip file"),
        "npz-empty.bin": Example(bytes, "not a zip file"),
        "npz-flipped.bin": Example(lambda: good.replace(bytes(24), bytes(23) + b"\1"), "CRC"),
        "npz-twice.bin": Example(lambda: archive([("a.npy", plain), ("a.npy", plain)]), "a name twice"),
        "npz-noarray.bin": Example(lambda: archive([("a.txt", b"x")]), "no array"),
        "npz-bzip.bin": Example(lambda: archive([("a.npy", plain)], zipfile.ZIP_BZIP2), "packed by method 12"),
        "npz-lzma.bin": Example(lambda: archive([("a.npy", plain)], zipfile.ZIP_LZMA), "packed by method 14"),
        "npz-bomb.bin": Example(
            lambda: archive([("a.npy", plain + bytes(150_000_000))], zipfile.ZIP_DEFLATED), "unpack to"
        ),
        "npz-shape.bin": Example(
            lambda: archive([("a.npy", array_bytes(np.zeros(3), shape="(999999999999,)"))]), "says"
        ),
        "npz-negative.bin": Example(lambda: archive([("a.npy", array_bytes(np.zeros(3), shape="(-1, -3)"))]), "says"),
        "npz-digits.bin": Example(
            lambda: archive([("a.npy", array_bytes(np.zeros(3), shape="(" + "9" * 5000 + ",)"))]), "cannot be read"
        ),
        "npz-deep.bin": Example(
            lambda: archive([("a.npy", array_bytes(np.zeros(3), shape="(" * 9000))]), "cannot be read as arrays"
        ),
        "npz-object.bin": Example(
            lambda: archive([("a.npy", array_bytes(np.zeros(3), descr="|O"))]), "neither numbers"
        ),
        "npz-void.bin": Example(lambda: archive([("a.npy", array_bytes(np.zeros(3), descr="|V8"))]), "neither numbers"),
        "npz-header.bin": Example(lambda: archive([("a.npy", plain[:40])]), "cannot be read as arrays"),
    }


def yaml_files() -> dict[str, Example]:
    """Faults of YAML as such, fed as the configuration of a refinement and of a training."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    faults = {
        "bytes": Example(lambda: b"name: \xff\n", "is not UTF-8: byte 0xff in line 1"),
        "bomb": text(bomb, "line 1: is an anchor or alias"),
        "merge": text("a: {b: 1}\n<<: {c: 2}\n", "mistake(s)"),
        "underscore": text("seed: 1_2\n", "is no plain number (found 1_2)"),
        "octal": text("seed: 010\n", "is no plain number (found 010)"),
        "sexagesimal": text("seed: 1:30\n", "is no plain number (found 1:30)"),
        "hexadecimal": text("seed: 0x10\n", "is no plain number (found 0x10)"),
        "infinite": text("seed: .inf\n", "is no plain number (found .inf)"),
        "nan": text("seed: .NaN\n", "is no plain number (found .NaN)"),
        "digits": text("seed: " + "9" * 5000 + "\n", "5000 characters"),
        "quoted": text('name: "' + "9" * 5000 + '"\nseed: "' + "9" * 5000 + '"\n', "seed"),
        "date": text("seed: 2024-99-99\n", "seed"),
        "deep": text("[" * 5000, "nested too deeply"),
        "deepblocks": text("".join(" " * i + "a:\n" for i in range(100)), "nested too deeply"),
        "tag": text("name: !!python/object/apply:os.system [exit 7]\n", "has a tag"),
        "binary": text("name: !!binary aGk=\n", "has a tag"),
        "twice": text("seed: 1\nname: a\nseed: 2\n", "line 3: is there twice (found seed)"),
        "nul": text('name: "a\\0b"\n', "no text"),
        "surrogate": text('name: "\\ud800"\n', "no text"),
        "key": text("1: 2\n", "is no name of a setting (found 1)"),
        "keylist": text("? [a]\n: 2\n", "is no name of a setting"),
        "large": text("name: a\n#" + "x" * 300_000, "has more than 262144 bytes"),
        "unknown": text("".join(f"key{i}: 1\n" for i in range(2000)), "more"),
        "long": text("name: [" + "x" * 100_000 + "]\n", "characters"),
        "list": text("- a\n", "is not a mapping"),
        "documents": text("name: a\n---\nname: b\n", "is not YAML"),
        "empty": text("", "is not a mapping"),
    }
    return {f"{kind}-{name}.bin": made for kind in ("yaml_config", "train_config") for name, made in faults.items()}


def weights_files() -> dict[str, Example]:
    def index(*names: str) -> str:
        return json.dumps({"metadata": {}, "weight_map": {f"t{i}": name for i, name in enumerate(names)}})

    def header(content: Any, length: int | None = None) -> bytes:
        raw = json.dumps(content).encode()
        return struct.pack("<Q", len(raw) if length is None else length) + raw

    elsewhere = "names a file of another folder, or no weights"
    far = {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    odd = {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}
    return {
        "weights_index-long.bin": text(index("9" * 5000 + ".safetensors"), elsewhere),
        "weights_index-empty.bin": text(index(""), elsewhere),
        "weights_index-above.bin": text(index(".."), elsewhere),
        "weights_index-nul.bin": text(index("a\0.safetensors"), elsewhere),
        "weights_index-absolute.bin": text(index("/etc/passwd"), elsewhere),
        "weights_index-lists.bin": text('{"metadata": [], "weight_map": []}', "is not an index of weights"),
        "weights_index-number.bin": text('{"metadata": {}, "weight_map": {"a": 1}}', "is not an index of weights"),
        "weights-header.bin": Example(lambda: header({}, 1 << 60), "its header has"),
        "weights-far.bin": Example(lambda: header(far), "is not a whole safetensors file"),
        "weights-type.bin": Example(lambda: header(odd) + bytes(4), "is not a whole safetensors file"),
        "weights-cut.bin": Example(lambda: b"\1\0\0", "is not a whole safetensors file"),
        "weights-empty.bin": Example(lambda: header({}), "name no network"),
    }


GENERAL = {
    "rlnExtReconsDataReal": "a.mrc", "rlnExtReconsDataImag": "b.mrc", "rlnExtReconsWeight": "c.mrc",
    "rlnExtReconsResult": "r.mrc", "rlnExtReconsResultStarfile": "r_out.star", "rlnTau2FudgeFactor": "1.0",
    "rlnPaddingFactor": "2", "rlnReferenceDimensionality": "3", "rlnOriginalImageSize": "8",
    "rlnCurrentImageSize": "8", "rlnPixelSize": "3.0", "rlnParticleDiameter": "20",
}  # fmt: skip
SPECTRA = ("0 1 1", "1 1 1", "2 1 .9", "3 1 .8", "4 1 .5")


def call(rows: tuple[str, ...] = SPECTRA, **changes: str) -> str:
    pairs = "".join(f"_{name} {value}\n" for name, value in (GENERAL | changes).items())
    head = "data_external_reconstruct_tau2\nloop_\n_rlnSpectralIndex\n_rlnReferenceTau2\n_rlnGoldStandardFsc\n"
    return f"data_external_reconstruct_general\n{pairs}\n{head}" + "\n".join(rows) + "\n"


def returned(*rows: str, label: str = "rlnReferenceTau2") -> str:
    return f"data_\nloop_\n_rlnSpectralIndex\n_{label}\n" + "\n".join(rows) + "\n"


def external_files() -> dict[str, Example]:
    numbers = {"nan": "nan", "inf": "-inf", "arabic": "٢", "underscore": "1_2", "text": "two", "digits": "9" * 5000}
    made = {
        f"extcall-pad{n}.bin": text(call(rlnPaddingFactor=v), "rlnPaddingFactor is not") for n, v in numbers.items()
    }
    made |= {f"extcall-box{n}.bin": text(call(rlnOriginalImageSize=v), "ImageSize is not") for n, v in numbers.items()}
    made |= {
        f"extcall-pixel{n}.bin": text(call(rlnPixelSize=v), "rlnPixelSize is not")
        for n, v in (numbers | {"zero": "0", "negative": "-3"}).items()
    }
    without = "\n".join(line for line in call().splitlines() if "rlnExtReconsWeight" not in line) + "\n"
    return made | {
        "extcall-padlarge.bin": text(call(rlnPaddingFactor="4096"), "has another size than the call says", "a.mrc"),
        "extcall-padhuge.bin": text(call(rlnPaddingFactor="2147483648"), "rlnPaddingFactor is not a whole number"),
        "extcall-boxlarge.bin": text(call(rlnOriginalImageSize="65536"), "spectra do not fit the box"),
        "extcall-long.bin": text(call(rlnExtReconsWeight="a" * 300 + ".mrc"), "is no name of such a file"),
        "extcall-longpath.bin": text(call(rlnExtReconsResult="a/" * 3000 + "r.mrc"), "is no name of such a file"),
        "extcall-ending.bin": text(call(rlnExtReconsResultStarfile="profile"), "is no name of such a file"),
        "extcall-missing.bin": text(call(rlnExtReconsWeight="none.mrc"), "file does not exist", "none.mrc"),
        "extcall-lost.bin": text(without, "has no rlnExtReconsWeight"),
        "extcall-fudge.bin": text(call(rlnTau2FudgeFactor="0"), "rlnTau2FudgeFactor is not positive"),
        "extcall-images.bin": text(call(rlnReferenceDimensionality="2"), "is of images"),
        "extcall-spectrum.bin": text(call((*SPECTRA[:4], "4 much .5")), "holds no number"),
        "extcall-order.bin": text(call((*SPECTRA[:3], SPECTRA[4], SPECTRA[3])), "shells are not in order"),
        "extcall-short.bin": text(call(SPECTRA[:3]), "spectra do not fit the box"),
        "extreturned-text.bin": text(returned("0 one", "1 .5"), "is not a finite number (found one)"),
        "extreturned-nan.bin": text(returned("0 nan", "1 .5"), "is not a finite number (found nan)"),
        "extreturned-index.bin": text(returned("zero 1", "1 .5"), "is not a finite number (found zero)"),
        "extreturned-half.bin": text(returned("0 1", "1.5 .5"), "shells beyond"),
        "extreturned-twice.bin": text(returned("0 1", "1 .5", "1 .4"), "one twice"),
        "extreturned-beyond.bin": text(returned("0 1", "5 .5"), "shells beyond"),
        "extreturned-negative.bin": text(returned("-1 1", "1 .5"), "shells beyond"),
        "extreturned-huge.bin": text(returned("9" * 5000 + " 1", "1 .5"), "is not a finite number"),
        "extreturned-other.bin": text(returned("0 1", label="rlnSomething"), "holds no spectrum"),
    }


def pool_files() -> dict[str, Example]:
    good = {"job_name": "b", "host": "h", "pid": 2, "port": 5, "settings": {"kind": "local"}, "token": "t"}
    wrong = "is not the address of a pool"
    return {
        "poolfile-none.bin": text("{}", wrong),
        "poolfile-pid.bin": text(json.dumps(good | {"pid": "a\0b"}), wrong),
        "poolfile-init.bin": text(json.dumps(good | {"pid": 1}), wrong),
        "poolfile-port.bin": text(json.dumps(good | {"port": 99999}), wrong),
        "poolfile-true.bin": text(json.dumps(good | {"port": True}), wrong),
        "poolfile-kind.bin": text(json.dumps(good | {"settings": {}}), wrong),
    }


def tables() -> dict[str, Example]:
    """Tables between tabs: what people write, and what a training leaves behind."""
    heads = {"pairs": "name\thalf1\thalf2", "curated": "name\tverdict", "losses": "step\tloss"}
    made: dict[str, Example] = {}
    for kind, head in heads.items():
        width = head.count("\t")
        made |= {
            f"{kind}-bytes.bin": Example(lambda h=head: h.encode() + b"\n\xff\tx\ty\n", "is not text in UTF-8"),
            f"{kind}-nul.bin": text(f"{head}\na\0" + "\tx" * width + "\n", "holds NUL bytes"),
            f"{kind}-field.bin": text(f"{head}\n" + "x" * 200_000 + "\tx" * width + "\n", "is no table"),
            f"{kind}-short.bin": text(f"{head}\n" + "a\t" * 40 + "\n", "values for"),
            f"{kind}-rows.bin": text(f"{head}\n" + "a\n" * 200_000, "has more than 100000 rows"),
            f"{kind}-twice.bin": text(f"{head}\tname\tname\n", "column is there twice"),
            f"{kind}-column.bin": text("other\n", "column is missing"),
            f"{kind}-empty.bin": text("", "column is missing"),
        }
    rows = "step\tblock_px\tbatch\tloss\tseconds\tmse\tmask_loss\tlearning_rate\tgradient_norm\n"
    return made | {
        "pairs-number.bin": text("name\thalf1\thalf2\tcontour\na\tx\ty\t1_2\n", "is not a finite number (found 1_2)"),
        "pairs-name.bin": text("name\thalf1\thalf2\n../a\tx\ty\n", "name: is no name (found ../a)"),
        "pairs-long.bin": text("name\thalf1\thalf2\na\t" + "x" * 5000 + "\ty\n", "file does not exist"),
        "decisions-twice.bin": text("a\tkeep\na\tdrop\n", "line 2: is decided twice (found a)"),
        "decisions-word.bin": text("a\tmaybe\n", "is neither keep nor drop"),
        "losses-none.bin": text(rows, "has no rows"),
        "losses-text.bin": text(rows + "\t".join(["1", "16", "x", *"111111"]) + "\n", "line 2, batch: is no number"),
        "losses-nan.bin": text(rows + "\t".join(["nan", "16", "2", *"111111"]) + "\n", "line 2, step: is no number"),
    }


def records() -> dict[str, Example]:
    """What a training or an import wrote, with other content than it should have."""
    entry = {"name": "a", "file": "a.npy", "channels": ["truth", "mask"], "box_px": 8, "group": "g", "split": "train",
             "source": "simulated", "sha256": ""}  # fmt: skip
    wrong: dict[str, Any] = {
        "none": {}, "size": {"voxel_size_angst": "x", "entries": []}, "entries": {"voxel_size_angst": 1, "entries": 3},
        "lost": {"voxel_size_angst": 1, "entries": [{"name": "a"}]},
        "above": {"voxel_size_angst": 1, "entries": [entry | {"file": "../a.npy"}]},
        "channel": {"voxel_size_angst": 1, "entries": [entry | {"channels": ["code"]}]},
        "more": {"voxel_size_angst": 1, "entries": [entry | {"code": 1}]},
    }  # fmt: skip
    made = {f"store-{name}.bin": text(json.dumps(content), "cannot use a file") for name, content in wrong.items()}
    meta = archive([("meta_json.npy", array_bytes(np.frombuffer(b"[" * 1000 + b"{", np.uint8)))])
    return made | {
        "models-none.bin": Example(lambda: archive([("a.npy", array_bytes(np.zeros(3)))]), "is not a pack of models"),
        "models-cut.bin": Example(lambda: b"PK", "scripts/pack_models.py"),
        "particleset-none.bin": Example(lambda: archive([("a.npy", array_bytes(np.zeros(3)))]), "lacks 'meta_json'"),
        "particleset-meta.bin": Example(lambda: meta, "cannot use a file"),
    }


def cryosparc_files() -> dict[str, Example]:
    """Tables of cryoSPARC: arrays with objects, of sizes that are not there, and with headers that cost."""

    def rows(descr: str, shape: str, content: bytes = b"", version: bytes = b"\x01\0") -> Callable[[], bytes]:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
        length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
        return lambda: b"\x93NUMPY" + version + length + header + content

    uid = "[('uid', '<u8')]"
    made = {
        "objects": (rows("[('uid', '|O')]", "(1,)", pickle.dumps([{}])), "neither numbers nor text"),
        "nested": (rows("[('uid', [('a', '<u8')])]", "(1,)", bytes(8)), "neither numbers nor text"),
        "text": (rows("[('uid', '<U3')]", "(1,)", bytes(12)), "neither numbers nor text"),
        "plain": (rows("'<f8'", "(1,)", bytes(8)), "no fields"),
        "huge": (rows(uid, "(999999999999999999999,)", bytes(8)), "rows of 8 bytes"),
        "negative": (rows(uid, "(-1,)", bytes(8)), "no rows"),
        "square": (rows(uid, "(1, 1)", bytes(8)), "no rows"),
        "wide": (rows("[('uid', '<u8', (1000000,))]", "(1,)", bytes(8)), "its rows are of"),
        "cut": (rows(uid, "(2,)", bytes(15)), "holds 15 bytes"),
        "twice": (rows("[('uid', '<u8'), ('uid', '<u8')]", "(1,)", bytes(16)), "is no table of cryoSPARC"),
        "deep": (rows("[" * 60_000, "(1,)"), "is no table of cryoSPARC"),
        "long": (rows("[" + "('a', '<u8')," * 100_000 + "]", "(1,)", b"", b"\x02\0"), "is no table of cryoSPARC"),
        "digits": (rows(uid, "(" + "9" * 6000 + ",)"), "is no table of cryoSPARC"),
        "version": (rows(uid, "(1,)", bytes(8), b"\x03\0"), "of version (3, 0)"),
        "empty": (rows(uid, "(0,)"), "has no blob/path"),
    }
    return {f"cryosparc-{name}.bin": Example(make, message) for name, (make, message) in made.items()}


def string(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)


def tensor(key: str, count: int, size: int, stride: int) -> bytes:
    """A tensor of `size` float32 numbers that are `stride` apart in record `key`, which is said to hold `count`."""
    mark = b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string(key) + string("cpu") + number(count) + b"tQ"
    sizes = number(0) + number(size) + b"\x85" + number(stride) + b"\x85" + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + mark + sizes + b"tR"


def network(*tensors: bytes) -> bytes:
    """A pickle of a bundle whose state is these tensors."""
    items = b"".join(string(f"layer{i}") + made for i, made in enumerate(tensors))
    return b"\x80\x02}(" + string("model_state_dict") + b"}(" + items + b"uu."


def saved(pickled: bytes, *extra: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """What torch.save would have written."""
    return archive([("a/data.pkl", pickled), ("a/byteorder", b"little"), ("a/data/0", bytes(64)), *extra], method)


def pickle_files() -> dict[str, Example]:
    """Faults of pickles, fed packed as a published bundle, and as they are as a checkpoint where they are zips."""
    code = b"\x80\x02cos\nsystem\n" + string("exit 7") + b"\x85R."
    more = "asks for far more memory"
    zips = {
        "memo": (saved(b"\x80\x02}r" + struct.pack("<I", 1 << 31) + b"."), "at place 2147483648"),
        "stride": (saved(network(tensor("0", 16, 10**9, 0))), "reaches beyond its numbers"),
        "reach": (saved(network(tensor("0", 16, 4, 10**9))), "reaches beyond its numbers"),
        "storage": (saved(network(tensor("0", 10**9, 16, 1))), "another size than its tensors say"),
        "lost": (saved(network(tensor("7", 16, 16, 1))), "a/data/7"),
        "negative": (saved(network(tensor("0", -16, 16, 1))), "make no sense"),
        "twice": (saved(network(), ("a/data/0", bytes(64))), "holds a record twice"),
        "packed": (saved(network(), ("a/data/1", bytes(50_000_000)), method=zipfile.ZIP_DEFLATED), "packed records"),
        "many": (saved(network(*[tensor("0", 16, 16, 1)] * 20_000)), "operations"),
        "code": (saved(code), "system"),
        "objects": (saved(b"\x80\x02" + b"}" * 400_000 + b"."), "operations"),
        "nopickle": (archive([("a/b", b"")]), "data.pkl"),
    }
    large = "x" * 1_000_000
    bare = {
        "memo": (b"\x80\x02}r" + struct.pack("<I", 1 << 29) + b"N.", "at place"),
        "textmemo": (b"}p" + b"999999999\n.", "at place"),
        "encode": (
            b"\x80\x02"
            + string(large)
            + b"q\x010("
            + (b"c_codecs\nencode\n(h\x01" + string("latin1") + b"tR") * 2000
            + b"l.",
            more,
        ),
        "copies": (
            b"\x80\x02}("
            + b"".join(number(i) + b"N" for i in range(10_000))
            + b"uq\x010("
            + b"ccollections\nOrderedDict\nh\x01\x85R" * 2000
            + b"l.",
            more,
        ),
        "array": (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
            + string("b")
            + b"tR"
            + b"(K\x01"
            + number(10**12)
            + b"\x85cnumpy\ndtype\n("
            + string("O8")
            + b"\x89\x88tR\x89]tb.",
            "an array of type O8",
        ),
        "arraysize": (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
            + string("b")
            + b"tR"
            + b"(K\x01"
            + number(10**12)
            + b"\x85cnumpy\ndtype\n("
            + string("f4")
            + b"\x89\x88tR\x89"
            + b"c_codecs\nencode\n("
            + string("abcd")
            + string("latin1")
            + b"tRtb.",
            "another size than its numbers",
        ),
        "build": (b"\x80\x02cnumpy\nndarray\nN}" + string("dtype") + b"Ns\x86b.", "executed"),
        "code": (code, "system"),
        "deep": (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", "is not a pickle"),
        "digits": (pickle.dumps({"model_state_dict": {}, "voxel_size": 10**4000}, 2), "holds another network"),
        "cut": (network(tensor("0", 16, 16, 1))[:-5], "is not a pickle"),
        "outside": (network(tensor("0", 16, 16, 1)), "executed"),
        "zeros": (bytes(60_000_000), "unpacks to more than"),
    }
    made = {f"published-{name}.bin": packed(content, told) for name, (content, told) in bare.items()}
    made |= {f"published-zip{name}.bin": packed(content, told) for name, (content, told) in zips.items()}
    made |= {f"checkpoint-{name}.bin": Example(lambda c=content: c, told) for name, (content, told) in zips.items()}
    return made | {
        "checkpoint-other.bin": Example(lambda: saved(b"\x80\x02}."), "is no checkpoint"),
        "checkpoint-empty.bin": Example(bytes, "cannot be read"),
    }


def packed(content: bytes, told: str) -> Example:
    return Example(lambda: gzip.compress(content, 1), told)


EXAMPLES = (
    json_files() | states() | npz_files() | yaml_files() | weights_files() | external_files() | pool_files()
    | pickle_files() | tables() | records() | cryosparc_files()
)  # fmt: skip


def write_examples(folder: Path) -> None:
    """Write every example into a folder."""
    for name, example in EXAMPLES.items():
        (folder / name).write_bytes(example.make())
