"""The gate: what it takes in place, what it converts, and the words with which it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

from gramian import _core
from gramian.rows import sources
from gramian.rows.arrays import (
    BFloat16Array,
    Matrix,
    as_matrix,
    require_rows,
    same_device,
    same_rows,
)

FLOATS = ("float64", "float32", "float16")


def data(n: int = 7, d: int = 5, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(dtype)


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """The bits of float32 values rounded towards zero to bfloat16."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def refused(x: Any, error: type[Exception], words: str, name: str = "X") -> None:
    with pytest.raises(error, match=re.escape(words)):
        as_matrix(x, name)


# ---- read in place --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_numpy_is_read_in_place(dtype: str) -> None:
    x = data(dtype=dtype)

    m = as_matrix(x, "X")

    assert (m.n, m.d, m.shape, m.dtype, m.device) == (7, 5, (7, 5), dtype, "cpu")
    assert (m.view.rows, m.view.cols, m.view.dtype) == (7, 5, dtype)
    assert m.owner is x
    assert m.numpy().ctypes.data == x.ctypes.data


STRIDED = {
    "fortran": lambda x: np.asfortranarray(x),
    "every other row": lambda x: x[::2],
    "every other column": lambda x: x[:, ::2],
    "rows backwards": lambda x: x[::-1],
    "columns backwards": lambda x: x[:, ::-1],
    "transposed": lambda x: x.T,
    "one row for all": lambda x: np.broadcast_to(x[0], (9, x.shape[1])),
    "a layer of many": lambda x: np.stack([x, -x], axis=1)[:, 1],
}


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("dtype", FLOATS)
def test_strides_are_read_in_place(layout: str, dtype: str) -> None:
    x = STRIDED[layout](data(dtype=dtype))

    m = as_matrix(x, "X")

    assert m.numpy().ctypes.data == x.ctypes.data
    assert m.numpy().strides == x.strides
    assert np.array_equal(m.block(1, 3), x[1:3].astype(np.float64))


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
def test_native_reading_follows_the_strides(layout: str, dtype: str) -> None:
    whole = data(dtype="float32" if dtype == "bfloat16" else dtype)
    row = {"rows backwards": 4, "every other row": 1, "one row for all": 0, "transposed": 3}.get(layout, 2)
    source = {"every other column": (2, 2), "transposed": (2, 3), "one row for all": (0, 3)}.get(layout, (2, 3))
    whole[source] = np.nan
    x = STRIDED[layout](bfloat16_bits(whole) if dtype == "bfloat16" else whole)

    if layout == "a layer of many" and dtype == "bfloat16":
        x = np.stack([bfloat16_bits(whole)] * 2, axis=1)[:, 1]

    refused(BFloat16Array(x) if dtype == "bfloat16" else x, ValueError, f"X has NaN in row {row}, column ")


def test_read_only_is_read_in_place() -> None:
    x = data()
    x.flags.writeable = False

    assert as_matrix(x, "X").numpy().ctypes.data == x.ctypes.data


def test_memory_map_is_read_in_place(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", data())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")

    m = as_matrix(x, "X")

    assert m.numpy().ctypes.data == x.ctypes.data
    assert m.owner is x


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
def test_the_gate_allocates_next_to_nothing(dtype: str) -> None:
    x = data(4096, 512)
    big: Any = BFloat16Array(bfloat16_bits(x)) if dtype == "bfloat16" else x.astype(dtype)
    as_matrix(big[:8], "X")  # what is allocated once only

    tracemalloc.start()
    m = as_matrix(big, "X")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert m.dtype == dtype
    assert peak < 64 * 1024


def test_the_memory_outlives_the_callers_array() -> None:
    x = data(600, 300)
    want = x.copy()

    m = as_matrix(x, "X")
    del x
    scribble = [np.full((600, 300), np.nan, np.float32) for _ in range(8)]

    assert m.view.first_nonfinite() == -1
    assert np.array_equal(m.numpy(), want)
    assert len(scribble) == 8


def test_a_matrix_passes_through() -> None:
    m = as_matrix(data(), "X")

    assert as_matrix(m, "X") is m


def test_nothing_but_numpy_is_imported() -> None:
    code = (
        "import sys, numpy; from gramian.rows.arrays import as_matrix; as_matrix(numpy.ones((3, 2)), 'X');"
        "print([m for m in ('torch', 'cupy', 'jax', 'pandas', 'safetensors', 'ml_dtypes', 'matplotlib', 'tqdm')"
        " if m in sys.modules])"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.strip() == "[]"


# ---- converted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_booleans_and_integers_become_float64(dtype: str) -> None:
    x = (10 * np.abs(data())).astype(dtype)

    m = as_matrix(x, "X")

    assert m.dtype == "float64"
    assert np.array_equal(m.numpy(), x)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">f2", ">i4"])
def test_foreign_byte_order_is_converted(dtype: str) -> None:
    x = (8 * data()).astype(dtype)

    m = as_matrix(x, "X")

    assert np.array_equal(m.block(0, 7), x.astype(np.float64))
    assert m.data.dtype.isnative


def test_unaligned_memory_is_copied() -> None:
    x = data()
    raw = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(7, 5)

    m = as_matrix(raw, "X")

    assert not raw.flags.aligned
    assert m.data.flags.aligned
    assert np.array_equal(m.numpy(), x)


def test_strides_between_elements_are_copied() -> None:
    records = np.zeros((7, 5), np.dtype([("tag", np.uint16), ("value", np.float32)], align=False))
    records["value"] = data()

    assert np.array_equal(as_matrix(records["value"], "X").numpy(), data())


def test_matrix_subclass_is_an_ordinary_array() -> None:
    with pytest.warns(PendingDeprecationWarning):
        x = np.matrix(data())

    assert type(as_matrix(x, "X").numpy()) is np.ndarray


def test_block_is_float64() -> None:
    x = data(dtype="float16")

    block = as_matrix(x, "X").block(2, 5)

    assert block.dtype == np.float64
    assert np.array_equal(block, x[2:5].astype(np.float64))


def test_block_of_float64_is_not_a_copy() -> None:
    x = data(dtype="float64")

    assert as_matrix(x, "X").block(2, 5).ctypes.data == x[2:].ctypes.data


# ---- bfloat16 -------------------------------------------------------------------------------------------------------


def test_bfloat16_bits_are_read_in_place() -> None:
    x = BFloat16Array(bfloat16_bits(data()))

    m = as_matrix(x, "X")

    assert (m.dtype, m.view.dtype) == ("bfloat16", "bfloat16")
    assert m.data.ctypes.data == x.bits.ctypes.data
    assert np.array_equal(m.numpy(), np.asarray(x))
    assert np.array_equal(m.block(1, 4), np.asarray(x)[1:4])


def test_bfloat16_widens_exactly() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)

    got = np.asarray(BFloat16Array(every))

    assert np.array_equal(got, every.view(ml_dtypes.bfloat16).astype(np.float32), equal_nan=True)


def test_ml_dtypes_bfloat16_is_read_in_place() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = data().astype(ml_dtypes.bfloat16)

    m = as_matrix(x, "X")

    assert m.view.dtype == "bfloat16"
    assert m.data.ctypes.data == x.ctypes.data
    assert np.array_equal(m.block(0, 7), x.astype(np.float64))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int4"])
def test_other_ml_dtypes_are_refused(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    refused(np.zeros((3, 2), getattr(ml_dtypes, dtype)), TypeError, f"X must hold real numbers, got dtype {dtype}")


# ---- other libraries ------------------------------------------------------------------------------------------------


class Exporter:
    """An array of a library without a dtype or an `__array__`: DLPack alone."""

    def __init__(self, x: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.x, self.device = x, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


@pytest.mark.parametrize("dtype", [*FLOATS, "int32"])
def test_anything_with_dlpack_is_read(dtype: str) -> None:
    x = (4 * data()).astype(dtype)

    m = as_matrix(Exporter(x), "X")

    assert np.array_equal(m.numpy(), x)
    assert dtype == "int32" or m.numpy().ctypes.data == x.ctypes.data


def test_pinned_memory_counts_as_the_cpu() -> None:
    assert as_matrix(Exporter(data(), (3, 0)), "X").device == "cpu"


@pytest.mark.parametrize(("place", "called"), [((2, 1), "cuda:1"), ((13, 0), "cuda:0"), ((8, 0), "metal:0")])
def test_other_devices_are_refused_with_the_way_out(place: tuple[int, int], called: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(_core, "cuda_status", lambda: "no CUDA-capable device is detected")
    with pytest.raises(RuntimeError, match=rf"^X is on {called}, but .*; move it to the CPU first \(X.cpu\(\)"):
        as_matrix(Exporter(data(), place), "X")


def test_cuda_arrays_say_why_there_is_no_device(monkeypatch: Any) -> None:
    monkeypatch.setattr(_core, "cuda_status", lambda: "the driver is too old")
    refused(Exporter(data(), (2, 0)), RuntimeError, "X is on cuda:0, but the driver is too old; move it to the CPU")


def test_a_failing_export_is_a_type_error() -> None:
    class Tracer(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            raise RuntimeError("abstract value")

    with pytest.raises(TypeError, match=r"^X, a \w+ Tracer, could not be read as an array: abstract value"):
        as_matrix(Tracer(data()), "X")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def jnp() -> Any:
    return pytest.importorskip("jax.numpy")


class TestTorch:
    @pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
    def test_is_read_in_place(self, torch: Any, dtype: str) -> None:
        x = torch.from_numpy(data()).to(getattr(torch, dtype))

        m = as_matrix(x, "X")

        assert (m.dtype, m.view.dtype, m.shape) == (dtype, dtype, (7, 5))
        assert m.data.ctypes.data == x.data_ptr()
        assert np.array_equal(m.block(0, 7), x.double().numpy())

    @pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
    def test_strides_are_read_in_place(self, torch: Any, dtype: str) -> None:
        x = torch.from_numpy(data(8, 6)).to(getattr(torch, dtype)).T[1::2, 2:]

        m = as_matrix(x, "X")

        assert m.data.ctypes.data == x.data_ptr()
        assert np.array_equal(m.block(0, 3), x.double().numpy())

    def test_a_tensor_that_requires_grad_is_refused_and_not_detached(self, torch: Any) -> None:
        x = torch.nn.Parameter(torch.from_numpy(data()))

        refused(x, TypeError, "X requires grad, and no gradient flows through this function; gramian.torch has ")
        refused(x * 2, TypeError, "and X.detach() gives the number alone")

    def test_without_gradients_a_parameter_is_read_in_place(self, torch: Any) -> None:
        x = torch.nn.Parameter(torch.from_numpy(data()))

        with torch.no_grad():
            inside = as_matrix(x, "X")

        assert inside.data.ctypes.data == x.data_ptr()
        assert as_matrix(x.detach(), "X").data.ctypes.data == x.data_ptr()

    def test_lazy_negation_is_resolved(self, torch: Any) -> None:
        x = torch._neg_view(torch.from_numpy(data()))

        assert np.array_equal(as_matrix(x, "X").numpy(), -data())

    @pytest.mark.parametrize("dtype", ["bool", "int64", "uint8"])
    def test_integers_become_float64(self, torch: Any, dtype: str) -> None:
        x = torch.arange(14).reshape(7, 2).to(getattr(torch, dtype))

        m = as_matrix(x, "X")

        assert m.dtype == "float64"
        assert np.array_equal(m.numpy(), x.numpy())

    def test_bfloat16_nan_is_found(self, torch: Any) -> None:
        x = torch.zeros(9, 4, dtype=torch.bfloat16)
        x[6, 3] = torch.nan

        refused(x, ValueError, "X has NaN in row 6, column 3")

    def test_complex_is_refused(self, torch: Any) -> None:
        x = torch.zeros(4, 3, dtype=torch.complex64)
        refused(
            x, TypeError, "X must hold real numbers, got torch.complex64; put real and imaginary parts side by side"
        )
        refused(x.conj(), TypeError, "X must hold real numbers, got torch.complex64")

    def test_sparse_is_refused(self, torch: Any) -> None:
        refused(torch.eye(4).to_sparse(), TypeError, "X is a sparse tensor; X.to_dense() makes a dense one")

    @pytest.mark.filterwarnings("ignore")
    def test_quantized_is_refused(self, torch: Any) -> None:
        x = torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8)
        refused(x, TypeError, "X is a quantized tensor; X.dequantize() makes a plain one")

    @pytest.mark.filterwarnings("ignore")
    def test_nested_is_refused(self, torch: Any) -> None:
        x = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        refused(x, TypeError, "X is a nested tensor; pool each sample to one row of features first")

    def test_float8_is_refused(self, torch: Any) -> None:
        x = torch.eye(4, 3).to(torch.float8_e4m3fn)
        refused(x, TypeError, "X is torch.float8_e4m3fn, which is not read; X.to(torch.bfloat16) has all its values")
        assert np.array_equal(as_matrix(x.to(torch.bfloat16), "X").numpy(), np.eye(4, 3))

    def test_meta_is_refused(self, torch: Any) -> None:
        refused(torch.zeros(4, 3, device="meta"), TypeError, "X is a tensor on the meta device, which has no values")

    def test_one_dimension_is_refused(self, torch: Any) -> None:
        refused(torch.zeros(4), ValueError, "for 4 samples of one feature use X.reshape(-1, 1)")


class TestJax:
    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_is_read(self, jnp: Any, dtype: str) -> None:
        x = jnp.asarray(data()).astype(dtype)

        m = as_matrix(x, "X")

        assert m.dtype == dtype
        assert np.array_equal(m.block(0, 7), np.asarray(x, np.float64))

    def test_traced_values_are_refused(self, jnp: Any) -> None:
        import jax

        with pytest.raises(TypeError, match=r"Tracer; call gramian outside of jax\.jit"):
            jax.jit(lambda x: as_matrix(x, "X"))(jnp.ones((3, 2)))


# ---- objects that answer anything ------------------------------------------------------------------------------------


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: Exception) -> Any:
    def answer(self: Any, *args: Any, **options: Any) -> Any:
        raise error

    return answer


ERRORS = [
    KeyError("k"),
    OSError("gone"),
    RecursionError("deep"),
    MemoryError(),
    StopIteration(),
    Silent(),
    OverflowError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("asked", ["__dlpack__", "__dlpack_device__", "dtype", "__class__"])
@pytest.mark.parametrize("as_property", [False, True])
def test_whatever_an_object_raises_is_one_type_error(asked: str, error: Exception, as_property: bool) -> None:
    answer = property(raising(error)) if as_property or asked in ("dtype", "__class__") else raising(error)
    kind = type("Odd", (Exporter,), {asked: answer})

    with pytest.raises(TypeError, match=r"^X, a \w+ Odd, could not be read as an array: \S.*$"):
        as_matrix(kind(data()), "X")


@pytest.mark.parametrize("place", [None, 3, (), (1,), (1, 0, 0), ("cpu", 0), (1.5, 0), "cp", (None, None)])
def test_a_device_that_is_none_is_a_type_error(place: Any) -> None:
    with pytest.raises(TypeError, match=r"^X, a \w+ Exporter, could not be read as an array: "):
        as_matrix(Exporter(data(), place), "X")


@pytest.mark.parametrize("shape", [None, 3, (2**70, 2), (-1, 5), ("a", "b"), raising(KeyError("k"))])
def test_what_an_object_says_of_its_shape_is_not_what_is_read(shape: Any) -> None:
    kind = type("Odd", (Exporter,), {"shape": property(shape) if callable(shape) else shape})

    assert np.array_equal(as_matrix(kind(data()), "X").numpy(), data())
    assert np.array_equal(sources.matrix(kind(data()), "X", column=True).numpy(), data())


def test_a_subclass_of_ndarray_is_read_whatever_it_says() -> None:
    kind = type("Odd", (np.ndarray,), {name: property(raising(KeyError("k"))) for name in ("shape", "dtype", "ndim")})
    assert np.array_equal(as_matrix(data().view(kind), "X").numpy(), data())


def test_a_class_without_a_name_of_its_own_is_refused_in_words() -> None:
    class Meta(type):
        @property
        def __module__(cls) -> Any:
            raise KeyError("k")

    refused(Meta("Odd", (), {})(), TypeError, "X must be an array, got an object")


def test_a_message_of_many_lines_becomes_one() -> None:
    kind = type("Odd", (Exporter,), {"__dlpack__": raising(ValueError("one\n  two"))})
    refused(kind(data()), TypeError, "could not be read as an array: one two")


def test_ctrl_c_within_an_object_is_heard() -> None:
    kind = type("Odd", (Exporter,), {"__dlpack__": raising(KeyboardInterrupt())})  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        as_matrix(kind(data()), "X")


def test_bits_that_are_not_of_bfloat16_are_refused() -> None:
    refused(BFloat16Array(data()), TypeError, "X has bits of float32, where those of bfloat16 are uint16")  # type: ignore[arg-type]


def test_a_nan_that_signals_is_found_without_a_warning() -> None:
    x = data()
    x.view(np.uint32)[2, 3] = 0x7FA00000
    refused(x, ValueError, "X has NaN in row 2, column 3")


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (None, "X must be an array, got None"),
        (3.5, "X must be an array, got float"),
        (np.float64(3.5), "X must be an array, got a numpy float64; np.asarray(X) makes one"),
        ("x.npy", "X must be an array, got str"),
        ({"a": 1, "b": 2}, "X must be an array, got dict; give one of its arrays, X['a'] or X['b']"),
        ({}, "X must be an array, got dict"),
    ],
)
def test_what_is_no_array_is_refused(x: Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"^{re.escape(words)}$"):
        as_matrix(x, "X")


def test_sparse_matrices_are_refused_with_the_way_out() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    refused(
        sparse.eye(4).tocsr(),
        TypeError,
        "X must be an array, got a scipy csr_matrix, which is sparse; X.toarray() makes a dense one",
    )
    big = sparse.csr_matrix((100_000, 5_000))
    refused(big, TypeError, "X.toarray() makes a dense one of 4 GB")


def test_masked_arrays_are_refused() -> None:
    refused(np.ma.masked_less(data(), 0), TypeError, "X is a masked array; leave the masked rows out of every array")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (data().astype(complex), "X must hold real numbers, got complex128; put real and imaginary parts side by side"),
        (
            data().astype(object),
            "X must hold real numbers, got dtype object; if it holds numbers, use X.astype(np.float64)",
        ),
        (data().astype(str), "X must hold real numbers, got dtype <U"),
        (np.zeros((3, 2), "S4"), "X must hold real numbers, got dtype |S4"),
        (np.zeros((3, 2), "M8[s]"), "X must hold real numbers, got dtype datetime64[s]"),
        (np.zeros((3, 2), "m8[s]"), "X must hold real numbers, got dtype timedelta64[s]"),
        (np.zeros((3, 2), [("a", "f4")]), "X must hold real numbers, got dtype [('a', '<f4')]"),
    ],
)
def test_what_is_not_real_is_refused(x: np.ndarray, words: str) -> None:
    refused(x, TypeError, words)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
def test_extended_precision_is_not_rounded_silently() -> None:
    refused(
        data().astype(np.longdouble),
        TypeError,
        "wider than the float64 that results are computed in; round it yourself",
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((), "X must be 2-d (samples by features), got a single number"),
        ((5000,), "got shape (5000,); for 5000 samples of one feature use X.reshape(-1, 1)"),
        (
            (6, 3, 2),
            "got shape (6, 3, 2); of tokens take the mean, X.mean(1), or one, X[:, 0] or X[:, -1]; all side by",
        ),
        ((6, 3, 2, 2), "of maps (n, channels, height, width) take the mean over positions, X.mean((2, 3)), or all"),
        (
            (6, 3, 2, 2, 2),
            "got shape (6, 3, 2, 2, 2); pool the features of each sample, or put all side by side: X.resh",
        ),
        ((0, 5), "X is empty: it has 0 rows and 5 columns"),
        ((5, 0), "X is empty: it has 5 rows and 0 columns"),
    ],
)
def test_shapes_are_refused_with_the_way_out(shape: tuple[int, ...], words: str) -> None:
    refused(np.zeros(shape), ValueError, words)


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("row", [0, 1, 4095, 9999])
def test_the_first_bad_row_is_named(dtype: str, value: float, what: str, row: int) -> None:
    x = data(10_000, 5)
    x[row, 3] = value
    x[-1, 0] = np.nan if row < 9999 else x[-1, 0]
    bad = BFloat16Array(bfloat16_bits(x)) if dtype == "bfloat16" else x.astype(dtype)

    refused(bad, ValueError, f"Y has {what} in row {row}, column 3 (its first bad row)", "Y")


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_numbers_are_finite(dtype: str) -> None:
    big = np.finfo(dtype).max
    x = np.array([[big, -big], [np.finfo(dtype).smallest_subnormal, 0]], dtype)

    assert as_matrix(x, "X").view.first_nonfinite() == -1


# ---- arguments together ---------------------------------------------------------------------------------------------


def test_row_counts_must_agree() -> None:
    m = [as_matrix(np.ones((n, 2)), "X") for n in (5000, 5000, 4998)]

    same_rows(m[:2], ["X", "Y"])
    with pytest.raises(ValueError, match=r"^X has 5000 rows but Z has 4998; row i of both must be the same sample$"):
        same_rows(m, ["X", "Y", "Z"])


def test_devices_must_agree() -> None:
    x = as_matrix(data(), "X")
    y = Matrix(x.view, x.n, x.d, x.dtype, "cuda:0", x.data, x.owner)

    same_device([x, x], ["X", "Y"])
    with pytest.raises(ValueError, match=r"^X is on cpu but Y is on cuda:0; move one of them$"):
        same_device([x, y], ["X", "Y"])


def test_too_few_rows_name_the_estimator_that_would_do() -> None:
    require_rows(4, 4, "the unbiased estimator of HSIC", "estimator='biased'")
    with pytest.raises(
        ValueError, match=r"^the unbiased estimator of HSIC needs at least 4 rows but got 3; use estimator='biased'$"
    ):
        require_rows(3, 4, "the unbiased estimator of HSIC", "estimator='biased'")
    with pytest.raises(ValueError, match=r"^the biased estimator of HSIC needs at least 2 rows but got 1$"):
        require_rows(1, 2, "the biased estimator of HSIC")
