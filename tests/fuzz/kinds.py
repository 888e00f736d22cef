"""What is damaged, and what is right.

Each kind gives a function that makes one input, hands it to gramian and says what came of it, "read" or "refused"; or
raises `Wrong`.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import device
import gramian as gm
from fuzz.mutations import array_of, damaged, members, npy_of, tampered, zipped
from gramian import _core, cli
from gramian.results.result import Result
from gramian.rows import arrays, sources
from gramian.rows.arrays import as_matrix
from results_of import same as equal_results

Generator = np.random.Generator
Try = Callable[[Generator], str]
CLEAN: tuple[type[Exception], ...] = (ValueError, TypeError, FileNotFoundError, ImportError)
LONGEST = 700  # characters of a message
UNCHANGED = 0.05  # part of the inputs that are not damaged, and have to be read


class Wrong(Exception):
    """Not the right value, nor a clean exception."""


class Refused(Exception):
    """A clean exception came."""


@contextlib.contextmanager
def clean(name: object, allowed: tuple[type[Exception], ...] = CLEAN) -> Iterator[None]:
    """A clean exception, one line that names the file or the argument, becomes `Refused`, and any other `Wrong`."""
    try:
        yield
    except (Wrong, Refused):
        raise
    except allowed as error:
        said = str(error)
        if type(error) not in allowed:
            raise Wrong(f"{type(error).__name__}, a special case of what is allowed") from error
        if str(name) not in said or "\n" in said.replace(str(name), "") or len(said) > LONGEST + len(str(name)):
            raise Wrong(f"a message that is not one line that names {name}") from error
        raise Refused from error
    except Exception as error:
        raise Wrong(f"{type(error).__name__} came out") from error


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


def outcome(attempt: Callable[[], None], *, must_read: bool = False) -> str:
    try:
        attempt()
    except Refused as error:
        if must_read:
            raise Wrong("what is not damaged was refused") from error.__cause__
        return "refused"
    return "read"


def same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def pick(rng: Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


def rows(seed: int, n: int = 7, d: int = 5, dtype: str = "<f8") -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal((n, d))).astype(dtype)


# ---- arrays in files -------------------------------------------------------------------------------------------------

ARRAYS = [
    *(rows(i, dtype=dtype) for i, dtype in enumerate(["<f8", "<f4", "<f2", ">f4", "<i8", "|i1", "<u4"])),
    np.asfortranarray(rows(8)),
    rows(9, 1, 1),
    rows(10, 6, 8).reshape(6, 2, 4),
    rows(11, 9, 1)[:, 0],
    rows(12, 5, 3) > 0,
    rows(13, 4, 2) + 1j,
    np.zeros((0, 4)),
    np.array(2.5),
]


def check_gate(given: Any, reference: np.ndarray, name: object) -> None:
    """What the gate makes of it: float64 rows of the reference, if it has finite rows."""
    with clean(name):
        found = sources.matrix(given, "X")
        want = np.asarray(reference).astype(np.float64)
        expect(found.shape == want.shape, "rows of another shape")
        expect(same(found.block(0, found.n), np.ascontiguousarray(want)), "other rows")


def npy(folder: Path) -> Try:
    originals = [npy_of(x) for x in ARRAYS]
    for version in ((2, 0), (3, 0)):
        out = io.BytesIO()
        np.lib.format.write_array(out, rows(20), version=version)
        originals.append(out.getvalue())

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "x.npy"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                got = sources.open_array(path)
                reference = _reference(lambda: array_of(data))
                expect(reference is not None and same(got, reference), "not the array that NumPy reads")
            with contextlib.suppress(Refused):
                check_gate(path, reference, path)

        return outcome(attempt, must_read=data == original)

    return try_one


def npz(folder: Path) -> Try:
    originals = []
    for k, save in enumerate((np.savez, np.savez_compressed, np.savez, np.savez_compressed)):
        out = io.BytesIO()  # the first is more than zipfile reads at once, which compares checksums by itself
        save(out, **{"rows": rows(k, 40, 30)} if k == 0 else {f"layer{i}": ARRAYS[(4 * k + i) % 12] for i in range(k)})
        originals.append(out.getvalue())

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        if rng.uniform() < 0.2:  # well-formed, with other arrays in it
            content = tampered(rng, members(original), members(pick(rng, originals)))
            data = zipped(content, deflated=bool(rng.integers(2)))
        path = folder / "x.npz"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                names = sources.array_names(path)
                name = pick(rng, names)
                got = sources.open_array(f"{path}:{name}")
                reference = _reference(lambda: array_of(zipfile.ZipFile(io.BytesIO(data)).read(f"{name}.npy")))
                expect(reference is not None and same(got, reference), "not the array that zipfile and NumPy read")
            with contextlib.suppress(Refused):
                check_gate(got, reference, "X")
            with contextlib.suppress(Refused), clean(path):
                sources.open_layers(path)

        return outcome(attempt, must_read=data == original)

    return try_one


def safetensors(folder: Path) -> Try:
    import ml_dtypes
    from safetensors import deserialize
    from safetensors.numpy import save

    sets = [
        {"x": rows(0)},
        {f"layers.{i}": rows(i, dtype=dtype) for i, dtype in enumerate(["<f4", "<f2", "<i4", "|u1"])},
        {"b": rows(5).astype(ml_dtypes.bfloat16), "a": rows(6, 3, 2)},
    ]
    originals = [save(tensors, metadata={"model": "a small one"} if i else None) for i, tensors in enumerate(sets)]

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "x.safetensors"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                name = pick(rng, sources.array_names(path))
                got = sources.open_array(f"{path}:{name}")
                reference = dict(deserialize(data))[name]
                raw = got.bits if isinstance(got, arrays.BFloat16Array) else got
                expect(list(raw.shape) == list(reference["shape"]), "another shape than the package reads")
                expect(raw.tobytes() == bytes(reference["data"]), "other bytes than the package reads")
            with contextlib.suppress(Refused):
                check_gate(got, np.asarray(got), "X")

        return outcome(attempt, must_read=data == original)

    return try_one


def torch_files(folder: Path) -> Try:
    """Read as arrays by themselves, and as features of the Platonic Representation Hypothesis."""
    import torch

    def saved(value: Any) -> bytes:
        out = io.BytesIO()
        torch.save(value, out)
        return out.getvalue()

    features = torch.from_numpy(rows(0, 6, 8).reshape(6, 2, 4))
    originals = [saved({"feats": features}), saved({"feats": [features[:, 0], features[:, 1]]}), saved(features[:, 0])]

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "x.pt"
        path.write_bytes(data)
        found = _reference(lambda: torch.load(path, map_location="cpu", weights_only=True))
        with contextlib.suppress(Refused), clean(path):
            name = pick(rng, sources.array_names(path))
            got = sources.open_array(f"{path}:{name}" if name else path)
            expect(same(got, _tensors(found)[name].numpy()), "not the tensor that torch reads")

        def attempt() -> None:
            warnings.simplefilter("ignore")  # torch's own, of what it reads
            try:
                layers = gm.platonic_layers(path, quantile=None)
            except Exception as error:  # a file is named, and of what is well in it the argument
                with clean(path if found is None or str(path) in str(error) else "source"):
                    raise
            feats = found["feats"] if isinstance(found, dict) else found
            for i, layer in enumerate(layers.values()):
                want = feats[i] if isinstance(feats, list) else feats if feats.ndim == 2 else feats[:, i]
                expect(np.array_equal(layer, want.numpy().astype(np.float32)), "not the features that torch reads")

        return outcome(attempt, must_read=data == original)

    return try_one


def _tensors(content: Any, name: str = "") -> dict[str, Any]:
    """Every tensor by its place, as they are called."""
    if hasattr(content, "numpy"):
        return {name: content}
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found = {}
    for key, value in items:
        found |= _tensors(value, f"{name}.{key}" if name else str(key))
    return found


def _compared(folder: Path, suffix: str, originals: list[bytes], read: Callable[[Path, str], Any]) -> Try:
    """Files of several arrays, each held against what another reader of the format finds."""

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / f"x{suffix}"
        path.unlink(missing_ok=True)  # an older one may be mapped
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                name = pick(rng, sources.array_names(path))
                got = sources.open_array(f"{path}:{name}")
                reference = _reference(lambda: read(path, name))
                expect(reference is not None and same(got, reference), "not the array that the package reads")
            with contextlib.suppress(Refused):
                check_gate(got, reference, "X")
            with contextlib.suppress(Refused), clean(path):
                sources.open_layers(path)

        return outcome(attempt, must_read=data == original)

    return try_one


def hdf5_files(folder: Path) -> Try:
    import h5py

    def saved(**how: Any) -> bytes:
        with h5py.File(folder / "original", "w") as file:
            for i, dtype in enumerate(["<f8", "<f4", "<i4", "<f2"]):
                file.create_dataset(f"model/layer{i}", data=rows(i, dtype=dtype), **how)
        return (folder / "original").read_bytes()

    def read(path: Path, name: str) -> Any:
        with h5py.File(path, "r") as file:
            return file[name][()]

    originals = [saved(), saved(chunks=(3, 2)), saved(chunks=(4, 5), compression="gzip", fletcher32=True)]
    return _compared(folder, ".h5", originals, read)


def mat_files(folder: Path) -> Try:
    """Damage of numbers themselves is seen where they are compressed alone, by their checksum."""
    from scipy.io import savemat

    known = {f"x{i}": rows(i, dtype=dtype) for i, dtype in enumerate(["<f8", "<f4", "<i4"])}

    def saved(**how: Any) -> bytes:
        out = io.BytesIO()
        savemat(out, known, **how)
        return out.getvalue()

    originals = [saved(), saved(do_compression=True)]

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "x.mat"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                name = pick(rng, sources.array_names(path))
                got = sources.open_array(f"{path}:{name}")
                whole = original is originals[1] or data == original
                expect(not whole or name not in known or same(got, known[name]), "other numbers than were saved")
            with contextlib.suppress(Refused):
                check_gate(got, got, "X")
            with contextlib.suppress(Refused), clean(path):
                sources.open_layers(path)

        return outcome(attempt, must_read=data == original)

    return try_one


def csv_files(folder: Path) -> Try:
    head = "a,b,c,d,e\n"
    body = "\n".join(",".join(f"{v!r}" for v in row.tolist()) for row in rows(0))
    labelled = "\n".join(f"r{i},{line}" for i, line in enumerate(body.split("\n")))
    originals = [text.encode() for text in (body, head + body + "\n", "," + head + labelled)]

    def try_one(rng: Generator) -> str:
        original = pick(rng, originals)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "x.csv"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path):
                got = sources.open_array(path)
                lines = [line for line in csv.reader(data.decode("utf-8-sig").splitlines()) if line]
                first = 1 if lines[0][0] == "" else 0
                named = not all(_float(field) is not None for field in lines[0])
                want = [
                    [_float(field) for field in line[first if named else 0 :]] for line in lines[1 if named else 0 :]
                ]
                expect(
                    np.array_equal(got, np.array(want, float), equal_nan=True), "other numbers than csv and float read"
                )

        return outcome(attempt, must_read=data == original)

    return try_one


def _float(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _reference(read: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except Exception:
            return None


# ---- statistics ------------------------------------------------------------------------------------------------------


def _statistics() -> list[Any]:
    X, Y, Z = rows(0, 9, 3), rows(1, 9, 2), rows(2, 9, 3)
    return [
        gm.gram_moments(X, Y),
        gm.gram_moments(Z, Y),
        gm.gram_moments(X, Y, kernel="rbf", shard=(0, 2)),
        gm.gram_moments(X.astype("f4"), kernel=[gm.Polynomial(3)]),
        gm.feature_moments(X, Y),
        gm.feature_moments(Z, Y),
        gm.feature_moments(X.astype("f4")),
    ]


def _saved(folder: Path) -> list[tuple[Any, bytes]]:
    path = folder / "saved"
    found = []
    for value in _statistics():
        value.save(path)
        found.append((value, path.read_bytes()))
    return found


def equal(a: Any, b: Any) -> bool:
    """Whether two values of a dataclass are the same to the bit, in all that is compared of them."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare]
    return all(same(p, q) if isinstance(p, np.ndarray) else p == q for p, q in pairs)


def statistics(folder: Path) -> Try:
    """Files of moments with damaged bytes."""
    saved = _saved(folder)

    def try_one(rng: Generator) -> str:
        value, original = pick(rng, saved)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "moments"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path, (ValueError,)):
                got = type(value).load(path)
            expect(equal(got, value), "other moments than were saved")

        return outcome(attempt, must_read=data == original)

    return try_one


def tampered_statistics(folder: Path) -> Try:
    """Well-formed archives with other arrays, names or plain values in them, checksums of the members recomputed."""
    saved = _saved(folder)

    def try_one(rng: Generator) -> str:
        value, original = pick(rng, saved)
        before = members(original)
        content = before
        while content == before:
            content = tampered(rng, before, members(pick(rng, saved)[1]))
        path = folder / "moments"
        path.write_bytes(zipped(content, deflated=bool(rng.integers(2))))

        def attempt() -> None:
            with clean(path, (ValueError,)):
                got = type(value).load(path)
            expect(equal(got, value), "another value was accepted")

        return outcome(attempt)

    return try_one


def _all_resealed(saved: list[tuple[Any, bytes]], path: Path, look: Callable[[Any], None]) -> Try:
    """Members of files exchanged and changed, and their own checksum made anew; `look` reads what is then there."""

    def try_one(rng: Generator) -> str:
        value, original = pick(rng, saved)
        content = tampered(rng, members(original), members(pick(rng, saved)[1]))
        with contextlib.suppress(Exception):
            content = _resealed(content)
        path.write_bytes(zipped(content))
        return outcome(lambda: look(value))

    return try_one


def resealed_statistics(folder: Path) -> Try:
    """The same with the file's own checksum made anew, as nobody does by accident: nothing may be read outside."""
    path = folder / "moments"

    def look(value: Any) -> None:
        with clean(path, (ValueError,)):
            got = type(value).load(path)
        warnings.simplefilter("ignore")
        repr(got)
        with contextlib.suppress(ValueError):
            got + value
        with contextlib.suppress(ValueError):
            got + got
        if isinstance(got, gm.FeatureMoments):
            with contextlib.suppress(ValueError):
                got.cka()
        else:
            expect(got.inner_full.shape == (got.m, got.m), "inner products of another shape")

    return _all_resealed(_saved(folder), path, look)


def _results(folder: Path) -> list[tuple[Any, bytes]]:
    X, Y = rows(0, 9, 3), rows(1, 9, 2)
    path, found = folder / "saved", []
    for value in (
        gm.alignment(X, Y, "rbf"),
        gm.compare(X, Y, "rbf", shuffles=1),
        gm.cka_matrix({"a": X, "b": Y}),
        gm.task_alignment(X, Y, "rbf", 2),
        gm.fit_stitch(X, Y, kind="kernel_ridge", ridge=0.1),
    ):
        value.save(path)
        found.append((value, path.read_bytes()))
    return found


def results(folder: Path) -> Try:
    """Files of results with damaged bytes."""
    saved = _results(folder)

    def try_one(rng: Generator) -> str:
        value, original = pick(rng, saved)
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / "result"
        path.write_bytes(data)

        def attempt() -> None:
            with clean(path, (ValueError,)):
                got = gm.load(path)
            expect(equal_results(got, value), "another result than was saved")

        return outcome(attempt, must_read=data == original)

    return try_one


def resealed_results(folder: Path) -> Try:
    """Files of results with other arrays or plain values in them, and their own checksum made anew."""
    path = folder / "result"

    def look(value: Any) -> None:
        with clean(path, (ValueError,)):
            got = gm.load(path)
        expect(isinstance(got, Result), "what came out is no result")
        with clean(path, (ValueError,)), contextlib.suppress(ValueError):
            type(value).load(path)

    return _all_resealed(_results(folder), path, look)


def _resealed(content: dict[str, bytes]) -> dict[str, bytes]:
    from gramian.rows.statistics_files import checksum

    found = {name.removesuffix(".npy"): array_of(value) for name, value in content.items()}
    manifest = json.loads(str(found.pop("manifest")))
    manifest["checksum"] = checksum(manifest, found)
    return {**content, "manifest.npy": npy_of(np.array(json.dumps(manifest)))}


# ---- memory of others --------------------------------------------------------------------------------------------


class Held:
    """An array of no library: its capsule and device, whatever they are."""

    def __init__(self, capsule: Any, place: Any = (1, 0)) -> None:
        self.made, self.place = capsule, place

    def __dlpack__(self, **options: Any) -> Any:
        return self.made

    def __dlpack_device__(self) -> Any:
        return self.place


SIZES = 64
LIES: list[Callable[[Generator], dict[str, Any]]] = [
    lambda rng: {"shape": None},
    lambda rng: {"shape": _longs(-1, 5)},
    lambda rng: {"shape": _longs(4, -(2**63))},
    lambda rng: {"shape": _longs(2**62, 2**62)},
    lambda rng: {"shape": _longs(2**63 - 1, 1)},
    lambda rng: {"shape": _longs(0, 3)},
    lambda rng: {"strides": _longs(2**62, 1)},
    lambda rng: {"strides": _longs(-(2**63), 1)},
    lambda rng: {"strides": _longs(1, -(2**60))},
    lambda rng: {"ndim": pick(rng, [-1, 0, 1, 3, -(2**31)]), "shape": _longs(2, 2, 2), "strides": _longs(1, 1, 1)},
    lambda rng: {"ndim": 2**31 - 1, "shape": None},
    lambda rng: {"data": None},
    lambda rng: {"byte_offset": int(rng.choice([1, 3, 4, 5]))},
    lambda rng: {"byte_offset": 2**64 - 8},
    lambda rng: {"byte_offset": 2**63},
    lambda rng: {"code": int(rng.choice([3, 5, 7, 99, 255]))},
    lambda rng: {"bits": int(rng.choice([0, 1, 8, 7, 128, 255]))},
    lambda rng: {"lanes": int(rng.choice([0, 2, 65535]))},
    lambda rng: {"device_type": int(rng.choice([0, -1, 7, 8, 99]))},
]  # fmt: skip


def _longs(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def capsules(folder: Path) -> Try:
    """Capsules made by hand: followed where they can be, refused where not. How much memory there is, none can ask."""
    allowed = (*CLEAN, RuntimeError, BufferError)

    def try_one(rng: Generator) -> str:
        memory = rng.standard_normal(SIZES * SIZES)
        n, d = (int(k) for k in rng.integers(2, 6, 2))
        strides = [int(k) for k in rng.integers(-8, 9, 2)]
        start = SIZES * SIZES // 2
        want = np.lib.stride_tricks.as_strided(memory[start:], (n, d), [8 * k for k in strides])
        lie = {} if rng.uniform() < 0.3 else pick(rng, LIES)(rng)
        version = pick(rng, [None, 1, 1, 2])
        export = device.Export(want, version=version, **lie)
        capsule = export.capsule()
        if rng.uniform() < 0.1:
            export.managed.deleter = None
        if used := rng.uniform() < 0.1:
            name = ctypes.create_string_buffer(b"used_" + export.name)
            ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), ctypes.cast(name, ctypes.c_char_p))
            KEPT.append(name)
        good = not lie and not used and version != 2

        def attempt() -> None:
            if rng.integers(2):
                with clean("", allowed):
                    view = _core.View.from_dlpack(capsule)
                expect(good, "a capsule was read that cannot be followed")
                got = _core.pair_distances([view], np.zeros(n, int), np.arange(n), l1=False)
                expect(np.allclose(got, np.linalg.norm(want - want[0], axis=1), rtol=1e-12), "other rows")
            else:
                with clean("X"):
                    found = as_matrix(Held(capsule), "X")
                    shift = int(lie.get("byte_offset", 0))  # NumPy reads elements that are not aligned, too
                    expect(good or 0 < shift < 8, f"a capsule was read that cannot be followed: {lie}")
                    there = np.ndarray((n, d), float, memory.data, 8 * start + shift, want.strides)
                    expect(same(found.block(0, n), np.ascontiguousarray(there)), "other rows")

        return outcome(attempt, must_read=good)

    return try_one


KEPT: list[Any] = []  # names of capsules, which have to outlive them


# ---- objects -------------------------------------------------------------------------------------------------------


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: list[Callable[[], Exception]] = [
    *(lambda kind=kind: kind("boo\nhoo") for kind in (
        AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, RuntimeError, RecursionError,
        OSError, MemoryError, StopIteration, AssertionError, NotImplementedError, SystemError, BufferError,
        ImportError, EOFError, ZeroDivisionError, UserWarning, Nasty,
    )),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
]  # fmt: skip
GIVEN: list[Any] = [
    None, True, -1, 0, 2**70, 3.5, math.nan, "x", b"\xff", "bfloat16", "float32", (), (2**62, 2**62), (-1, 2),
    ("a", "b"), ((1,), (2,)), [], {}, object(), type, (1, 0), (1, 2**80), (1,), (1, 0, 0), ("cpu", 0), (2, 0), (8, 1),
    (3, 0), range(3),
]  # fmt: skip
ASKED = (
    "__dlpack__", "__dlpack_device__", "dtype", "shape", "ndim", "__array__", "__array_interface__", "__array_struct__",
    "__len__", "__getitem__", "__class__", "to_numpy", "toarray", "__repr__", "__str__", "__bool__", "__iter__",
    "__cuda_array_interface__", "__array_namespace__", "device", "layout", "is_nested", "__eq__",
)  # fmt: skip


def objects(folder: Path) -> Try:
    """Objects whose answers are anything: the honest one, another, or an exception, as a property or as a method."""

    def try_one(rng: Generator) -> str:
        x = rows(int(rng.integers(100)), 6, 3)
        given = _hostile(rng, x)

        def attempt() -> None:
            allowed = (*CLEAN, RuntimeError)
            with clean("X", allowed):
                if rng.integers(2):
                    found = as_matrix(given, "X")
                else:
                    found = sources.matrix(given, "X", column=bool(rng.integers(2)))
                expect(same(found.block(0, found.n), x), "other rows than the object holds")

        return outcome(attempt)

    return try_one


def _hostile(rng: Generator, x: np.ndarray) -> Any:
    honest: dict[str, Any] = {
        "__dlpack__": lambda self, **options: x.__dlpack__(**options),
        "__dlpack_device__": lambda self: (1, 0),
        "dtype": property(lambda self: x.dtype),
        "shape": property(lambda self: x.shape),
        "ndim": property(lambda self: 2),
        "__array__": lambda self, *args, **options: x,
        "__len__": lambda self: len(x),
        "__getitem__": lambda self, index: x[index],
    }
    kept = [name for name in honest if rng.uniform() < 0.8]
    body = {name: honest[name] for name in kept}
    for name in ASKED:
        if rng.uniform() < 0.15:
            body[name] = _answer(rng)
    if rng.uniform() < 0.1:
        body["__getattr__"] = _raises(rng)
    if rng.uniform() < 0.1:
        body["__module__"] = pick(rng, GIVEN)
    base = np.ndarray if rng.uniform() < 0.2 else object
    kind = type(pick(rng, ["Tensor", "DataFrame", "Odd", "SomeTracer"]), (base,), body)
    return x.view(kind) if base is np.ndarray else kind()


def _answer(rng: Generator) -> Any:
    raises, value = _raises(rng), pick(rng, GIVEN)
    match int(rng.integers(4)):
        case 0:
            return property(raises)
        case 1:
            return raises
        case 2:
            return property(lambda self: value)
        case _:
            return lambda self, *args, **options: value


def _raises(rng: Generator) -> Any:
    make = pick(rng, RAISED)

    def answer(self: Any, *args: Any, **options: Any) -> Any:
        raise make()

    return answer


# ---- the compiled module -------------------------------------------------------------------------------------------


def native(folder: Path) -> Try:
    """Entry points of the compiled module with arguments that do not go together: the right value or an exception."""
    words = {3: gm.gram_moments(rows(0), rows(1)).row_words, 6: gm.gram_moments(rows(0), rows(1)).pair_words}

    def array(rng: Generator) -> Any:
        shape = tuple(int(k) for k in rng.choice([0, 1, 2, 3, 6, 7], int(rng.integers(0, 4))))
        dtype = pick(rng, ["<u8", "<i8", "<f8", "<i4", "<f4", "|u1", ">u8"])
        found = rng.integers(-3, 12, shape).astype(dtype)
        return pick(rng, [found, found.T, np.lib.stride_tricks.as_strided(found, found.shape, found.strides), None, 3])

    def some_words(rng: Generator) -> Any:
        if rng.uniform() < 0.2:
            return array(rng)
        found = pick(rng, list(words.values()))
        index = rng.integers(0, len(found), int(rng.integers(0, 3)))
        return pick(rng, [found, found, found[index], found[..., :1], found[:, None], np.asfortranarray(found)])

    def listed(rng: Generator) -> Any:
        return pick(rng, [np.array([0, 0]), np.array([1, 0]), np.array([0, 7]), np.array([-1, 0]), array(rng)])

    def view(rng: Generator) -> Any:
        x = rows(int(rng.integers(9)), int(rng.choice([1, 2, 7])), int(rng.choice([1, 5])), pick(rng, ["<f8", "<f4"]))
        return pick(rng, [_core.View.from_numpy(x)] * 9 + [None, _core.View.from_numpy(x[:0])])

    def add(rng: Generator) -> None:
        a, b = some_words(rng), some_words(rng)
        got = _core.fixed_add(a, b)
        expect(got.shape == a.shape == b.shape, "sums of another shape")
        expect(_integers(got) == [p + q for p, q in zip(_integers(a), _integers(b), strict=True)], "another sum")

    def values(rng: Generator) -> None:
        a = some_words(rng)
        expect(_core.fixed_values(a).shape == a.shape[:-1], "values of another shape")

    def distances(rng: Generator) -> None:
        views = [view(rng) for _ in range(pick(rng, [0, 1, 1, 1, 1, 2, 3]))]
        i, j = listed(rng), listed(rng)
        got = _core.pair_distances(views, i, j, l1=bool(rng.integers(2)))
        expect(got.size == np.size(i) == np.size(j), "not a distance for each pair")

    def host(rng: Generator) -> None:
        _core.rows_to_host([view(rng)], array(rng))

    def sweep(rng: Generator) -> None:
        n = int(rng.choice([1, 2, 7]))
        odd = float(pick(rng, [0, 0.05, 0.3]))  # how often an argument is not what it should be

        def one_of(good: list[Any], bad: list[Any]) -> Any:
            return pick(rng, bad if rng.uniform() < odd else good)

        xs = []
        for _ in range(one_of([1, 2], [0, 3])):
            parts = [one_of([_core.View.from_numpy(rows(1, n))], [view(rng)]) for _ in range(one_of([1], [0, 2, 3]))]
            index = one_of([None, np.arange(n), np.zeros(n, int)], [array(rng), np.arange(n) + 1, np.arange(n - 1)])
            shift = one_of([None, np.zeros(n)], [array(rng), np.zeros(n + 1), np.zeros((n, 2))])
            xs.append((parts, _core.KernelFunction("linear", {}), index, shift, one_of([-1, 0, 1], [2, -5])))
        statistic = one_of(["moments", "star", "products", "matmul", "topk"], ["all"])
        xs = xs[:1] if statistic in ("matmul", "topk") and rng.uniform() >= odd else xs
        vectors = [np.ones((n, 2)), np.ones((n, 64))] if statistic == "matmul" else [None]
        options = {
            "statistic": statistic,
            "shard": one_of([(0, 1), (1, 2), (0, 2**62)], [(1, 1), (-1, 2), (0, 0), (0, -1), (2**62, 2**62)]),
            "vectors": one_of(vectors, [None, np.ones((n, 65)), np.ones((n, 0)), np.ones((n + 1, 2)), array(rng)]),
            "neighbors": one_of([1], [0, n - 1, n, -1, 2**40]),
            "memory": one_of([0, 1, 2**40], [-1]),
        }
        raw = _core.sweep(xs, **options)
        size = len(raw["index"]) if options["statistic"] == "topk" else len(raw["diagonal"][0])
        expect(size >= 1 and bool(xs), "a sweep over nothing")

    def read(rng: Generator) -> None:
        _core.View.from_numpy(array(rng)).first_nonfinite()

    def bits(rng: Generator) -> None:
        _core.View.from_bfloat16(array(rng)).first_nonfinite()

    def try_one(rng: Generator) -> str:
        call = pick(rng, [add, add, values, distances, distances, host, sweep, sweep, sweep, read, bits])
        try:
            call(rng)
        except (ValueError, TypeError, IndexError):
            return "refused"
        return "read"

    return try_one


def _integers(words: np.ndarray) -> list[int]:
    """Fixed-point sums as whole numbers, which wrap around where the words end."""
    limbs = np.asarray(words).reshape(-1, words.shape[-1])
    return [Modular(sum(int(limb) << 64 * k for k, limb in enumerate(row)), 64 * len(row)) for row in limbs]


class Modular(int):
    """A whole number of so many bits."""

    bits: int

    def __new__(cls, value: int, bits: int) -> Modular:
        found = super().__new__(cls, value % (1 << bits))
        found.bits = bits
        return found

    def __add__(self, other: int) -> Modular:
        return Modular(int(self) + int(other), self.bits)


# ---- the command line ----------------------------------------------------------------------------------------------


def command_line(folder: Path) -> Try:
    """`gramian compare` and others on a damaged file: the numbers of what is in it, or one line."""
    good = folder / "y.npy"
    np.save(good, rows(50, 7, 3))
    originals = {".npy": npy_of(rows(0)), ".npz": zipped({"x.npy": npy_of(rows(0))}, deflated=True)}

    def try_one(rng: Generator) -> str:
        suffix = pick(rng, originals)
        original = originals[suffix]
        data = original if rng.uniform() < UNCHANGED else damaged(rng, original)
        path = folder / f"x{suffix}"
        path.write_bytes(data)
        commands = (
            ["compare", str(path), str(good), "--kernel=linear", "--json"],
            ["matrix", str(path), "--json"],
            ["knn", str(path), str(good), "-k", "2", "--json"],
            ["rsa", str(path), str(good), "--json"],
            ["cca", str(path), str(good), "--json"],
            ["null", "mutual_knn", str(path), str(good), "-O", "k=2", "--permutations", "3", "--json"],
            ["search", str(path), str(good), "--json"],
        )
        out, err = io.StringIO(), io.StringIO()
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main(pick(rng, commands))
            except SystemExit as left:
                code = left.code
        if code == 0:
            expect(isinstance(json.loads(out.getvalue()), dict) and not err.getvalue(), "not one document")
            return "read"
        expect(code in (1, 2) and not out.getvalue(), f"exit code {code}, with output")
        expect(data != original, "what is not damaged was refused")
        expect(
            err.getvalue().startswith("Error: ") and err.getvalue().count("\n") == 1, f"not one line: {err.getvalue()}"
        )
        return "refused"

    return try_one


FILES = {
    "npy": npy,
    "npz": npz,
    "safetensors": safetensors,
    "torch_files": torch_files,
    "hdf5_files": hdf5_files,
    "mat_files": mat_files,
    "csv_files": csv_files,
    "statistics": statistics,
    "results": results,
    "capsules": capsules,
    "objects": objects,
    "native": native,
    "command_line": command_line,
}
TAMPERED = {
    "tampered_statistics": tampered_statistics,
    "resealed_statistics": resealed_statistics,
    "resealed_results": resealed_results,
}
KINDS = {**FILES, **TAMPERED}
