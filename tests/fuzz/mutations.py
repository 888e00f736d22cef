"""How bytes and archives of arrays are damaged."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Generator = np.random.Generator

WORDS = [
    b"True", b"False", b"None", b"-1", b"0", b"1e9", b"99999999999999999999", b"4611686018427387904", b"'|O'",
    b"'<f8'", b"'>f4'", b"'<c16'", b"'<U0'", b"'V0'", b"((((((((", b"))))", b"5L", b"[[[[", b"{}", b"'descr'",
    b"'shape'", b"(7,)", b"(3, 5, 7)", b"\\", b"\\N{", b"'''", b"\n", b"\x00", b"NaN", b"1" * 5000, b"-" * 3000,
    b"\xff\xff\xff\xff", b"PK\1\2", b"PK\3\4", b"F16", b"BF16", b"F8_E4M3", b'"data_offsets":[0,8]',
    b"\x93NUMPY\3\0",
]  # fmt: skip


def damaged(rng: Generator, data: bytes) -> bytes:
    """The bytes after one to four small changes, most of them where a header or a directory is."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = _place(rng, len(out))
        match int(rng.integers(0, 9)):
            case 0:
                out[at : at + 1] = bytes([out[at] ^ (1 << int(rng.integers(8)))]) if at < len(out) else b""
            case 1:
                out[at : at + 1] = bytes([int(rng.choice([0, 1, 32, 39, 40, 48, 57, 127, 128, 255]))])
            case 2:
                del out[at:]
            case 3:
                del out[at : at + int(rng.integers(1, 40))]
            case 4:
                out[at:at] = rng.bytes(int(rng.integers(1, 40)))
            case 5:
                word = WORDS[int(rng.integers(len(WORDS)))]
                out[at : at + len(word)] = word
            case 6:
                out[at:at] = WORDS[int(rng.integers(len(WORDS)))]
            case 7:
                begin = _place(rng, len(out))
                out[at:at] = out[begin : begin + int(rng.integers(1, 80))]
            case _:
                digits = [i for i, byte in enumerate(out) if 48 <= byte <= 57]
                if digits:
                    out[digits[int(rng.integers(len(digits)))]] = int(rng.integers(48, 58))
    return bytes(out)


def _place(rng: Generator, size: int) -> int:
    if size == 0:
        return 0
    near = min(size, 200)
    where = rng.uniform()
    at = rng.integers(near) if where < 0.45 else size - 1 - rng.integers(near) if where < 0.75 else rng.integers(size)
    return int(at)


# ---- archives of arrays ----------------------------------------------------------------------------------------------


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def zipped(content: dict[str, bytes], *, deflated: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return out.getvalue()


def array_of(npy: bytes) -> np.ndarray:
    file = io.BytesIO(npy)
    array = np.load(file, allow_pickle=False)
    if file.read(1):
        raise ValueError("there is more than one array")
    return array


def npy_of(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def tampered(rng: Generator, content: dict[str, bytes], other: dict[str, bytes]) -> dict[str, bytes]:
    """The members of an archive with one or two of them changed, all of it well-formed; `other` is another archive."""
    out = dict(content)
    for _ in range(int(rng.integers(1, 3))):
        names = list(out) or ["extra.npy"]
        name = MANIFEST if MANIFEST in out and rng.uniform() < 0.2 else names[int(rng.integers(len(names)))]
        change: Callable[[Generator, np.ndarray], np.ndarray] | None = None
        match 0 if name == MANIFEST and rng.uniform() < 0.7 else int(rng.integers(0, 11)):
            case 0 | 1 | 2:
                change = _other_value
            case 3:
                change = _other_dtype
            case 4 | 5:
                change = _other_shape
            case 6 if name in out:
                out[_other_name(rng, name)] = out.pop(name)
            case 7 if name in other:
                out[name] = other[name]
            case 8 if name in out:
                second = names[int(rng.integers(len(names)))]
                out[name], out[second] = out[second], out[name]
            case 9 if name in out:
                del out[name]
            case _:
                out[f"extra{int(rng.integers(9))}.npy"] = npy_of(np.zeros(int(rng.integers(4))))
        if change and name in out:
            out[name] = npy_of(change(rng, array_of(out[name])))
    return out


def _other_value(rng: Generator, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "U":
        return np.array(other_json(rng, str(x)))
    out = np.array(x)
    if out.size == 0:
        return out
    raw = out.reshape(-1).view(np.uint8)
    raw[int(rng.integers(raw.size))] ^= np.uint8(1 << int(rng.integers(8)))
    return out


def _other_dtype(rng: Generator, x: np.ndarray) -> np.ndarray:
    dtype = str(rng.choice(["<f8", ">f8", "<f4", "<u8", "<i8", "<i4", "|u1", "<c16", "|b1", "<U5", "|V8"]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return x.astype(dtype) if rng.integers(2) else x.reshape(-1).view(dtype)
    except (TypeError, ValueError):
        return x


def _other_shape(rng: Generator, x: np.ndarray) -> np.ndarray:
    choices = [x[..., None], x[None], x.reshape(-1), x.T, np.concatenate([x.reshape(-1)] * 2), np.asfortranarray(x)]
    if x.ndim:
        choices += [x[:1], x[:-1], x[::-1], x[:0], x[..., :1], np.repeat(x, 2, axis=0), np.roll(x, 1, axis=-1)]
    return np.array(choices[int(rng.integers(len(choices)))])


def _other_name(rng: Generator, name: str) -> str:
    choices = [name.upper(), name + "x", "x" + name, "../" + name, name.removesuffix(".npy") or "z", "z"]
    return choices[int(rng.integers(len(choices)))]


def other_json(rng: Generator, text: str) -> str:
    """The text with one value of it, at any depth, put in another's place; or some of its characters."""
    try:
        said = json.loads(text)
    except ValueError:
        return text[: int(rng.integers(len(text) + 1))]
    if rng.integers(4) == 0:
        at = int(rng.integers(len(text)))
        return text[:at] + chr(int(rng.integers(32, 126))) + text[at + 1 :]
    return json.dumps(_changed(rng, said))


MANIFEST = "manifest.npy"
MANIFEST = "manifest.npy"
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2, 7, 10**30, 1.5, float("nan"), float("inf"), "", "x" * 64, [], [[]], {}, [[0, 1]],
]  # fmt: skip


def _changed(rng: Generator, value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "{[" and value:
        return other_json(rng, value)
    if isinstance(value, dict) and value and rng.integers(6):
        key = "values" if "values" in value and rng.integers(2) else list(value)[int(rng.integers(len(value)))]
        if rng.integers(8) == 0:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.integers(3):
        at = int(rng.integers(len(value)))
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.integers(2):
        return value + int(rng.integers(-2, 3))
    if isinstance(value, float) and rng.integers(2):
        return value * (1 + float(rng.normal(0, 1e-3)))
    if isinstance(value, str) and value and rng.integers(2):
        at = int(rng.integers(len(value)))
        return value[:at] + chr(int(rng.integers(32, 126))) + value[at + 1 :]
    return VALUES[int(rng.integers(len(VALUES)))]
