"""The gate: every array from outside passes here once and comes out as a `Matrix`.

What an argument must be is checked here and nowhere else, so the code behind the gate trusts its inputs. Arrays are
read in place, on the CPU and on CUDA devices, whatever their strides; only booleans, integers, a foreign byte order
and unaligned memory are copied. No array library but NumPy is imported here: a torch tensor can only come from a
program that has imported torch.
"""

from __future__ import annotations

import math
import operator
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from gramian import _core
from gramian.progress import is_progress
from gramian.rows import objects
from gramian.rows.labels import RowLabels, same_labels
from gramian.rows.objects import check_shape, kind_of
from gramian.words import did_you_mean

DType = Literal["float64", "float32", "float16", "bfloat16"]

# digits after the leading one, and the exponent of the last digit of the smallest numbers
LAST_DIGITS = {"float64": (52, -1074), "float32": (23, -149), "float16": (10, -24), "bfloat16": (7, -133)}
_READ = (np.float64, np.float32, np.float16)  # of NumPy's, what the native code reads
_CHECKED_AT_ONCE = 1 << 28  # bytes; between two such pieces of a file on a slow disk, Ctrl-C is heard
_EXACT = 1 << 53  # up to which float64 holds every integer
_CPU_DEVICES = {1, 3}  # DLPack: kDLCPU, and kDLCUDAHost, which is pinned memory of the host
_CUDA_DEVICES = {2, 13}  # kDLCUDA, and kDLCUDAManaged
_LEGACY_STREAM = 1  # DLPack's name for the stream that the CUDA engine works on; a producer makes it wait for its own
_DEVICE_NAMES = {2: "cuda", 7: "vulkan", 8: "metal", 10: "rocm", 13: "cuda", 14: "oneapi"}


@dataclass(frozen=True, eq=False)
class BFloat16Array:
    """bfloat16 values that NumPy has no dtype for, as their bits; `np.asarray` widens them to float32, exactly."""

    bits: npt.NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    @property
    def ndim(self) -> int:
        return self.bits.ndim

    @property
    def dtype(self) -> str:
        return "bfloat16"

    def __getitem__(self, index: Any) -> BFloat16Array:
        return BFloat16Array(self.bits[index])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("bfloat16 values cannot become a NumPy array without a copy")
        wide = _widen(self.bits)
        return wide if dtype is None else wide.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False)
class Matrix:
    """n samples of d finite features, as the native code reads them."""

    view: _core.View
    n: int
    d: int
    dtype: DType
    device: str  # "cpu" or "cuda:0"
    data: npt.NDArray[Any] | None  # (n, d) the memory behind the view, bfloat16 as its bits; None on a device
    owner: object  # the caller's array: keeps the memory alive
    labels: RowLabels | None = field(default=None, kw_only=True)  # of the rows, if the caller's object has some
    columns: tuple[str, ...] | None = field(default=None, kw_only=True)  # names of the features

    @property
    def shape(self) -> tuple[int, int]:
        return (self.n, self.d)

    def numpy(self) -> npt.NDArray[np.floating[Any]]:
        """The host's memory as an ndarray; bfloat16, which NumPy lacks, is copied to float32 (`block` bounds that)."""
        if self.data is None:
            raise TypeError(f"a matrix on {self.device} is no ndarray; block and take copy rows of it")
        return _widen(self.data) if self.dtype == "bfloat16" else self.data

    def block(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Rows start to stop as float64, (stop - start, d); a copy unless they are float64 of the host already."""
        if self.data is None:
            return self.take(np.arange(start, min(stop, self.n)))
        return _float64(self.data[start:stop])

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Listed rows as float64, (len(rows), d); a copy."""
        if self.data is None:
            return _core.rows_to_host([self.view], rows)
        return _float64(self.data[rows])

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles read their own memory anew; a view into that of this process would mean nothing there."""
        host = BFloat16Array(self.data) if self.dtype == "bfloat16" and self.data is not None else self.data
        return as_matrix, (self.owner if host is None else host, "rows")

    def converted(self, dtype: DType, name: str) -> Matrix:
        """The matrix in a dtype that holds all its values, on its device; itself if it has that dtype."""
        if self.dtype == dtype:
            return self
        if self.data is None:
            return as_matrix(_cast_on_device(self.owner, dtype, name), name)
        return as_matrix(self.numpy().astype(dtype), name)


def as_matrix(x: object, name: str) -> Matrix:
    """Check one argument and read it in place.

    Parameters
    ----------
    x : array of shape (n, d)
        A NumPy array (memory-mapped, strided and read-only too), a torch tensor, a CuPy or JAX array or anything else
        that speaks DLPack, on the CPU or on a CUDA device. float64, float32, float16 and bfloat16 are read where they
        lie; booleans and integers are copied to float64, which rounds integers beyond 2**53. Measures that do not
        change when all rows move take such columns less their least entry, exactly (`about_least`; on the CPU). Also
        tables of pandas and xarray with their labels, lists of lists, datasets of h5py and zarr (`objects.plain`).
    name : str
        What the caller calls it; every message starts with it.

    Raises
    ------
    TypeError
        `x` is not an array, or not of real numbers, or a tensor that requires grad. Extended precision (``longdouble``)
        is refused and not rounded: results are computed in float64, and what was stored to keep more digits should be
        cut down by its owner.
    ValueError
        `x` is not two-dimensional, is empty, or holds NaN or infinity (the message says in which row first).
    RuntimeError
        `x` lies on a device that this build, or this machine, cannot compute on.

    Notes
    -----
    Costs one read of the data where it lies, to find NaN and infinities, and no memory.
    """
    if issubclass(type(x), Matrix):  # isinstance would ask the object
        return cast(Matrix, x)
    return _matrix_of(x, name, *_found(x, name, column=False))


def as_column(x: object, name: str) -> Matrix:
    """`as_matrix` for which one dimension is as good as two: n samples of one feature."""
    if issubclass(type(x), Matrix):
        return cast(Matrix, x)
    return _matrix_of(x, name, *_found(x, name, column=True))


def _matrix_of(
    x: object, name: str, found: npt.NDArray[Any] | BFloat16Array | _core.View, table: objects.Plain | None
) -> Matrix:
    """The matrix of the memory that was found in an object."""
    data = None
    if isinstance(found, _core.View):
        view = found
    else:
        if not isinstance(found, BFloat16Array):
            _check_numbers(found, name)
        check_shape(found.shape, name)
        data = _readable(found.bits) if isinstance(found, BFloat16Array) else _real(found, name)
        view = _view(data)
    owner, labels, columns = (x, None, None) if table is None else (table.values, table.rows, table.columns)
    matrix = Matrix(
        view, view.rows, view.cols, cast("DType", view.dtype), view.device, data, owner, labels=labels, columns=columns
    )
    check_finite(matrix, name)
    return matrix


def about_least(xs: Sequence[Matrix]) -> list[Matrix]:
    """The same rows, columns with integers beyond 2**53 less their least entry in all of them; mostly `xs` itself.

    That difference is taken in integers, so that rows which float64 would round to one are told apart. For what does
    not change when all rows move by the same.
    """
    whole = [_large_integers(x) for x in xs]
    found = [w for w in whole if w is not None]
    if len(found) < len(xs):
        return list(xs)
    least = np.minimum.reduce([w.min(axis=0) for w in found])
    most = np.maximum.reduce([w.max(axis=0) for w in found])
    least[(least >= -_EXACT) & (most <= _EXACT)] = 0
    if not least.any():
        return list(xs)
    # modulo 2**64, where the difference of any two has room
    moved = [w.astype(np.uint64) - least.astype(np.uint64) for w in found]
    kept = least == 0
    rows = [np.where(kept, w, m.astype(np.float64)) for w, m in zip(found, moved, strict=True)]
    return [as_matrix(r, "rows") for r in rows]


def exact_beyond(reference: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(d,) which numbers are of a size where integers of 64 bits have digits that float64 has not."""
    return (np.abs(reference) >= _EXACT) & (np.abs(reference) < 2.0**63)


def about_reference(x: Matrix, reference: npt.NDArray[np.float64]) -> Matrix | None:
    """Rows less a reference, where their columns are integers beyond 2**53, which are taken from it exactly.

    None where nothing would be gained. Other columns are as they were.
    """
    whole = _large_integers(x)
    far = np.flatnonzero(exact_beyond(reference))
    if whole is None or not len(far):
        return None
    rows = whole.astype(np.float64)
    for j in far:
        column = whole[:, j]
        if reference[j] < 0 and column.dtype.kind == "u":
            continue
        at = column.dtype.type(int(reference[j]))
        # modulo 2**64, where the difference of any two has room
        above, below = (
            (column.astype(np.uint64) - at.astype(np.uint64)),
            (at.astype(np.uint64) - column.astype(np.uint64)),
        )
        rows[:, j] = np.where(column >= at, above.astype(np.float64), -below.astype(np.float64))
    return as_matrix(rows, "rows")


def _large_integers(x: Matrix) -> npt.NDArray[Any] | None:
    """The array of 64-bit integers that a matrix was made from."""
    if x.data is None or not str(getattr(x.owner, "dtype", "")).endswith("int64"):
        return None
    found = _array(x.owner, "rows")
    return found if isinstance(found, np.ndarray) and found.dtype.kind in "iu" else None


def check_finite(x: Matrix, name: str) -> None:
    """Raise ValueError naming the first row of `x` that holds NaN or infinity."""
    row = _first_nonfinite(x)
    if row is None:
        return
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        values = x.block(row, row + 1)[0]
    column = int(np.argmin(np.isfinite(values)))
    what = "NaN" if np.isnan(values[column]) else "infinity"
    raise ValueError(
        f"{name} has {what} in row {row}, column {column} (its first bad row); "
        "repair it, or leave that row out of every array"
    )


def _first_nonfinite(x: Matrix) -> int | None:
    if x.data is None:
        row = x.view.first_nonfinite()
        return row if row >= 0 else None
    step = max(1, _CHECKED_AT_ONCE // (x.d * x.data.itemsize))
    if x.n <= step:
        row = x.view.first_nonfinite()
        return row if row >= 0 else None
    for start in range(0, x.n, step):
        row = _view(x.data[start : start + step]).first_nonfinite()
        if row >= 0:
            return start + row
    return None


def same_rows(matrices: Sequence[Matrix], names: Sequence[str]) -> None:
    """Raise ValueError unless all have the number of rows of the first, and labels of rows, where there are, agree."""
    for matrix, name in zip(matrices[1:], names[1:], strict=True):
        if matrix.n != matrices[0].n:
            raise ValueError(
                f"{names[0]} has {matrices[0].n} rows but {name} has {matrix.n}; row i of both must be the same sample"
            )
    same_labels([matrix.labels for matrix in matrices], names)


def same_device(matrices: Sequence[Matrix], names: Sequence[str]) -> None:
    """Raise ValueError unless all lie on the device of the first."""
    for matrix, name in zip(matrices[1:], names[1:], strict=True):
        if matrix.device != matrices[0].device:
            raise ValueError(
                f"{names[0]} is on {matrices[0].device} but {name} is on {matrix.device}; move one of them"
            )


def one_of(choice: object, known: Sequence[str], argument: str) -> None:
    """Raise ValueError unless the choice is among the known."""
    if not isinstance(choice, str) or choice not in known:
        near = did_you_mean(choice, known)
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, known))}, got {choice!r}{near}")


def plain_number(value: Any, argument: str) -> Any:
    """The number in an array of no dimension, of any library; anything else as it is."""
    if isinstance(value, int | float) or not hasattr(value, "item") or getattr(value, "shape", None) != ():
        return value
    if getattr(value, "requires_grad", False) is True:
        raise objects.requires_grad(argument)
    return value.item()


def check_count(value: object, argument: str, least: int = 1) -> int:
    """The value, if it is a whole number and large enough."""
    found = plain_number(value, argument)
    if isinstance(found, bool) or not isinstance(found, int | np.integer):
        raise TypeError(f"{argument} must be a whole number, got {_type_of(value)}")
    if found < least:
        raise ValueError(f"{argument} must be at least {least}, got {found}")
    return int(found)


def check_number(value: object, argument: str, *, instead: str = "") -> float:
    """The value, if it is a real number; which ones will do is for the caller to say, and what would do instead."""
    found = plain_number(value, argument)
    if isinstance(found, bool) or not isinstance(found, Real):
        raise TypeError(f"{argument} must be a number{instead}, got {_type_of(value)}")
    try:
        return float(found)
    except OverflowError:
        return math.copysign(math.inf, -1 if found < 0 else 1)


def _type_of(value: object) -> str:
    """What came in place of a number."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else "")


def check_seed(seed: object) -> int:
    """The seed, if it is a whole number, 0 or more."""
    return check_count(seed, "seed", 0)


def group_numbers(groups: object | None, rows: Sequence[Matrix], names: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """(n,) the number of each row's group, from labels that are numbers or strings; None if there are no groups.

    Groups that say of which samples they are must say it of the samples that the rows are of.
    """
    if groups is None:
        return None
    n = rows[0].n
    found = np.asarray(groups)
    if found.dtype == object and all(isinstance(label, str) for label in found.flat):
        found = found.astype(str)  # a column of a DataFrame
    if found.ndim != 1 or len(found) != n:
        raise ValueError(f"groups must be {n} labels, one for each row, got shape {found.shape}")
    if found.dtype.kind not in "biufUST":
        raise TypeError(f"groups must be numbers or strings, got dtype {found.dtype}")
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(f"groups has NaN in row {int(np.argmax(np.isnan(found)))}; every row needs a group")
    same_labels([*(x.labels for x in rows), objects.labels_of(groups)], [*names, "groups"])
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def check_budget(memory: object, progress: object) -> None:
    """Raise unless memory is a number of bytes or None, and progress something to be told."""
    if memory is not None:
        check_count(memory, "memory (bytes)")
        if int(memory) >= 1 << 62:  # type: ignore[call-overload]
            raise ValueError(f"memory must be a number of bytes, got {memory}")
    if not is_progress(progress):
        raise TypeError(
            f"progress must be True, a function of (done, total) or a tqdm bar, got {type(progress).__name__}"
        )


def require_rows(n: int, minimum: int, what: str, instead: str | None = None) -> None:
    """Raise ValueError if n samples are too few for `what`; `instead` names what would do."""
    if n < minimum:
        hint = f"; use {instead}" if instead else ""
        raise ValueError(f"{what} needs at least {minimum} rows but got {n}{hint}")


def _found(
    x: Any, name: str, *, column: bool
) -> tuple[npt.NDArray[Any] | BFloat16Array | _core.View, objects.Plain | None]:
    """`_array` of what an object is or holds, whatever the object's own code does, which may raise anything.

    The gate's own messages start with the argument's name; all others are the object's.
    """
    try:
        table = objects.plain(x, name, column=column)
        held = x if table is None else table.values
        return _array(_as_column(held) if column else held, name), table
    except Exception as error:
        if isinstance(error, TypeError | ValueError | RuntimeError) and _words(error).startswith(_own(name)):
            raise
        raise _unreadable(x, name, error) from error


def _own(name: str) -> tuple[str, ...]:
    """How messages of the gate begin."""
    return (name, f"rows of {name}", f"what {name} lists")


def _as_column(x: Any) -> Any:
    try:
        one = len(getattr(x, "shape", ())) == 1
    except Exception:  # a foreign object's own; the gate says what is wrong with it
        return x
    return x[:, None] if one and (issubclass(type(x), BFloat16Array) or hasattr(x, "__dlpack__")) else x


def _array(x: Any, name: str) -> npt.NDArray[Any] | BFloat16Array | _core.View:
    """The memory of `x` if it can be read as it lies: an ndarray on the host, a view on a CUDA device."""
    if type(x) is BFloat16Array:
        bits = np.asarray(x.bits)
        if bits.dtype.kind != "u" or bits.itemsize != 2:
            raise TypeError(f"{name} has bits of {bits.dtype}, where those of bfloat16 are uint16")
        return BFloat16Array(bits)
    if isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(
                f"{name} is a masked array; leave the masked rows out of every array, or fill them: {name}.filled(...)"
            )
        return _bfloat16_or_itself(np.asarray(x))
    if _is_torch_tensor(x):
        return _torch_array(x, name)
    if isinstance(x, np.generic) or not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise TypeError(objects.refusal(x, name))
    device, index = map(operator.index, x.__dlpack_device__())
    if device in _CUDA_DEVICES:
        return _device_view(x, name, index)
    if device not in _CPU_DEVICES:
        raise _elsewhere(name, f"{_DEVICE_NAMES.get(device, f'DLPack device {device}')}:{index}")
    # NumPy refuses a bfloat16 capsule; the libraries that have the type give out ml_dtypes arrays of it
    if str(getattr(x, "dtype", "")).endswith("bfloat16"):
        return _bfloat16_or_itself(np.asarray(x))
    return np.from_dlpack(cast(Any, _Checked(x)))


class _Checked:
    """An array that NumPy reads by DLPack, its capsules looked through before: NumPy follows a NULL shape."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.x.__dlpack__(**options)
        _core.View.check_dlpack(capsule)
        return capsule

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


def _torch_array(x: Any, name: str) -> npt.NDArray[Any] | BFloat16Array | _core.View:
    torch = sys.modules["torch"]
    if x.requires_grad and torch.is_grad_enabled():
        raise objects.requires_grad(name)
    if x.is_nested:
        raise TypeError(f"{name} is a nested tensor; pool each sample to one row of features first")
    if x.layout is not torch.strided:
        raise TypeError(f"{name} is a sparse tensor; {name}.to_dense() makes a dense one")
    if x.is_quantized:
        raise TypeError(f"{name} is a quantized tensor; {name}.dequantize() makes a plain one")
    if x.is_complex():
        raise TypeError(_complex_message(name, str(x.dtype)))
    if x.dtype.is_floating_point and x.element_size() == 1:
        raise TypeError(f"{name} is {x.dtype}, which is not read; {name}.to(torch.bfloat16) has all its values")
    if x.device.type == "meta":
        raise TypeError(f"{name} is a tensor on the meta device, which has no values")
    if x.device.type == "cuda" and torch.version.hip is None:
        return _device_view(x.detach().resolve_neg(), name, x.device.index)
    if x.device.type != "cpu":
        raise _elsewhere(name, str(x.device))
    plain = x.detach().resolve_neg()
    if x.dtype is torch.bfloat16:
        return BFloat16Array(plain.view(torch.int16).numpy().view(np.uint16))
    return cast("npt.NDArray[Any]", plain.numpy())


def tensor_array(x: Any, name: str) -> npt.NDArray[Any] | BFloat16Array:
    """The memory of a torch tensor of the host."""
    found = _torch_array(x, name)
    if isinstance(found, _core.View):
        raise TypeError(f"{name} is on {x.device}")
    return found


def _device_view(x: Any, name: str, index: int) -> _core.View:
    """A view of an array on a CUDA device, after its producer has made the engine's stream wait for what fills it."""
    if status := _core.cuda_status():
        raise _elsewhere(name, f"cuda:{index}", status)
    if (shape := getattr(x, "shape", None)) is not None:
        check_shape(tuple(shape), name)
    kind = _kind_of_dtype(x)
    if kind == "c":
        raise TypeError(_complex_message(name, str(x.dtype)))
    if kind in ("b", "i", "u"):
        x = _cast_on_device(x, "float64", name)
    with _on_device_of(x):
        try:
            capsule = x.__dlpack__(stream=_LEGACY_STREAM, max_version=(1, 0))
        except TypeError:  # a producer from before DLPack had versions
            capsule = x.__dlpack__(stream=_LEGACY_STREAM)
    return _core.View.from_dlpack(capsule)


def _cast_on_device(x: Any, dtype: DType, name: str) -> Any:
    """The producer's own copy in another dtype."""
    if _is_torch_tensor(x):
        return x.detach().to(getattr(sys.modules["torch"], dtype))
    with _on_device_of(x), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX says that it has no float64; so does what follows
        found = x.astype(dtype) if hasattr(x, "astype") else x
    if getattr(found, "dtype", None) != dtype:
        raise TypeError(
            f"{name} is {getattr(x, 'dtype', 'of another dtype')} and {kind_of(x)} could not be made {dtype} where it "
            f"lies; convert {name} to a float dtype first (JAX has float64 with jax_enable_x64)"
        )
    return found


def _on_device_of(x: Any) -> AbstractContextManager[Any]:
    """While torch and CuPy hand an array out, its device has to be the current one."""
    from array_api_compat import is_cupy_array

    if _is_torch_tensor(x):
        return cast("AbstractContextManager[Any]", sys.modules["torch"].cuda.device(x.device))
    return cast("AbstractContextManager[Any]", x.device) if is_cupy_array(x) else nullcontext()


def _kind_of_dtype(x: Any) -> str:
    """NumPy's letter for the dtype: b, i, u, f, c; "" if there is no telling."""
    if _is_torch_tensor(x):
        return "f" if x.dtype.is_floating_point else "i"  # complex tensors were refused before
    return str(getattr(getattr(x, "dtype", None), "kind", ""))


def _bfloat16_or_itself(a: npt.NDArray[Any]) -> npt.NDArray[Any] | BFloat16Array:
    # dtype.name is slow
    return BFloat16Array(a.view(np.uint16)) if a.dtype.type not in _READ and a.dtype.name == "bfloat16" else a


def _check_numbers(a: npt.NDArray[Any], name: str) -> None:
    """Raise TypeError for what no shape would make numbers."""
    if a.dtype.type in _READ:
        return
    if a.dtype.names:
        hint = f"; if all its fields are numbers, use numpy.lib.recfunctions.structured_to_unstructured({name})"
    elif a.dtype.kind in "US":
        hint = f"; if it holds numbers, use {name}.astype(np.float64)"
    elif a.dtype.name.startswith("float8"):
        hint = f"; {name}.astype(np.float32) has all its values"
    elif a.dtype.kind in "VMm":
        hint = ""
    elif a.dtype.kind == "O":
        objects.check_scalar_items(a, name)
        return
    else:
        return
    raise TypeError(f"{name} must hold real numbers, got dtype {str(a.dtype)[:80]}{hint}")


def _real(a: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """An array of a dtype that the native code reads; a copy only where there is no other way."""
    if a.dtype.type in _READ:
        return _readable(a)
    if a.dtype.kind in "biu":
        return a.astype(np.float64)
    if a.dtype.kind == "c":
        raise TypeError(_complex_message(name, str(a.dtype)))
    if a.dtype.kind == "f":
        raise TypeError(
            f"{name} is {a.dtype}, wider than the float64 that results are computed in; "
            f"round it yourself: {name}.astype(np.float64)"
        )
    hint = f"; if it holds numbers, use {name}.astype(np.float64)" if a.dtype.kind in "OT" else ""
    raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}{hint}")


def _readable(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`a` itself if it can be stepped through in whole, aligned elements of this machine's byte order."""
    if not a.dtype.isnative:
        return a.astype(a.dtype.newbyteorder("="))
    if a.dtype.byteorder not in "=|":  # HDF5 and zarr spell this machine's order out
        a = a.view(a.dtype.newbyteorder("="))
    if not a.flags.aligned or any(stride % a.itemsize for stride in a.strides):
        return a.copy()
    return a


def _float64(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Rows of a matrix's data as float64; a copy unless they are."""
    return (_widen(rows) if rows.dtype == np.uint16 else rows).astype(np.float64, order="C", copy=False)


def _widen(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """bfloat16 bits are the upper half of a float32's."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _view(data: npt.NDArray[Any]) -> _core.View:
    """Unsigned integers are the bits of bfloat16."""
    return _core.View.from_bfloat16(data) if data.dtype == np.uint16 else _core.View.from_numpy(data)


def _is_torch_tensor(x: object) -> bool:
    from array_api_compat import is_torch_array

    return bool(is_torch_array(x))


def _words(error: BaseException) -> str:
    """What an exception says, or what it is if that is nothing or it fails."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def _complex_message(name: str, dtype: str) -> str:
    return f"{name} must hold real numbers, got {dtype}; put real and imaginary parts side by side as features"


def _unreadable(x: object, name: str, error: Exception) -> TypeError:
    return TypeError(f"{name}, {kind_of(x)}, could not be read as an array: {' '.join(_words(error).split())}")


def _elsewhere(name: str, device: str, reason: str = "gramian reads CPU and CUDA memory") -> RuntimeError:
    return RuntimeError(
        f"{name} is on {device}, but {reason}; move it to the CPU first "
        f"({name}.cpu() in torch, cupy.asnumpy({name}) in CuPy, jax.device_get({name}) in JAX)"
    )
