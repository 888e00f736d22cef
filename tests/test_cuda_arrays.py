"""Arrays on a CUDA device: how they are read, and with which words they are refused where there is none.

DLPack capsules are read the same way on every device, so those of the host show most of it. What needs a device is
marked `cuda`.
"""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from typing import Any

import numpy as np
import pytest

import gramian as gm
from device import BFLOAT, CUDA, MANAGED, PINNED, DeviceArray, Export
from gramian import _core
from gramian.rows.arrays import Matrix, as_matrix

FLOATS = ("float64", "float32", "float16")
PAIR = np.array([0]), np.array([1])


def data(n: int = 7, d: int = 5, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(dtype)


def distance(view: Any) -> float:
    """Between the first two rows: shows which elements a view reads."""
    return float(_core.pair_distances([view], *PAIR, l1=False)[0])


def distance_of(x: Any) -> float:
    return float(np.linalg.norm(np.asarray(x[0], np.float64) - np.asarray(x[1], np.float64)))


# ---- capsules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_capsule_is_read_in_place(dtype: str, version: int | None) -> None:
    x = data(dtype=dtype)

    view = _core.View.from_dlpack(Export(x, version=version).capsule())
    x[4, 2] = np.nan

    assert (view.rows, view.cols, view.dtype, view.device) == (7, 5, dtype, "cpu")
    assert view.first_nonfinite() == 4


@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, lambda x: x[::-2], lambda x: x[:, ::-1], np.transpose])
def test_strides_of_a_capsule_are_followed(make: Any) -> None:
    x = make(data(dtype="float64"))
    assert distance(_core.View.from_dlpack(Export(x).capsule())) == pytest.approx(distance_of(x), rel=1e-14)


def test_capsule_without_strides_is_row_major() -> None:
    x = data(dtype="float64")
    view = _core.View.from_dlpack(Export(x, compact=True).capsule())
    assert distance(view) == pytest.approx(distance_of(x), rel=1e-14)


def test_byte_offset_is_added() -> None:
    x = data(dtype="float64")
    view = _core.View.from_dlpack(Export(x[:-1], byte_offset=x.strides[0]).capsule())
    assert distance(view) == pytest.approx(distance_of(x[1:]), rel=1e-14)


def test_bfloat16_capsule_is_read() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = data().astype(ml_dtypes.bfloat16)
    view = _core.View.from_dlpack(Export(x).capsule())
    assert view.dtype == "bfloat16"
    assert distance(view) == pytest.approx(distance_of(x), rel=1e-14)


def test_pinned_memory_is_the_hosts() -> None:
    assert _core.View.from_dlpack(Export(data(), (PINNED, 0)).capsule()).device == "cpu"


@pytest.mark.parametrize("options", [{}, {"max_version": (1, 0)}])
def test_numpy_capsule_is_read(options: dict[str, Any]) -> None:
    x = data(dtype="float64").T
    view = _core.View.from_dlpack(x.__dlpack__(**options))
    assert distance(view) == pytest.approx(distance_of(x), rel=1e-14)


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
def test_torch_capsule_is_read(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(data()).to(getattr(torch, dtype)).T[1::2, 2:]

    view = _core.View.from_dlpack(x.__dlpack__())

    assert (view.rows, view.cols, view.dtype) == (2, 5, dtype)
    assert distance(view) == pytest.approx(distance_of(x.double().numpy()), rel=1e-14)


# ---- whose a capsule is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, 1])
def test_tensor_is_deleted_once_when_its_view_dies(version: int | None) -> None:
    export = Export(data(), version=version)
    capsule = export.capsule()
    view = _core.View.from_dlpack(capsule)
    assert f'"used_{export.name.decode()}"' in repr(capsule)

    del capsule
    assert export.deleted == 0
    del view
    gc.collect()
    assert export.deleted == 1


def test_tensor_is_deleted_by_a_view_that_dies_on_another_thread() -> None:
    export = Export(data())
    views = [_core.View.from_dlpack(export.capsule())]
    thread = threading.Thread(target=views.clear)
    thread.start()
    thread.join()
    assert export.deleted == 1


def test_tensor_without_a_deleter_is_read() -> None:
    export = Export(data())
    export.managed.deleter = None
    view = _core.View.from_dlpack(export.capsule())
    assert view.first_nonfinite() == -1
    del view
    assert export.deleted == 0


def test_capsule_is_read_once() -> None:
    capsule = Export(data()).capsule()
    view = _core.View.from_dlpack(capsule)
    with pytest.raises(TypeError, match="a DLPack capsule that nobody has read before"):
        _core.View.from_dlpack(capsule)
    assert view.first_nonfinite() == -1


@pytest.mark.parametrize("what", [None, 3, np.ones((2, 2))])
def test_what_is_no_capsule_is_refused(what: Any) -> None:
    with pytest.raises(TypeError, match="a DLPack capsule"):
        _core.View.from_dlpack(what)


def longs(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


REFUSED = {
    "one dimension": ({"x": np.ones(4)}, ValueError, "needs a matrix, got 1 dimensions"),
    "integers": ({"x": np.ones((4, 2), np.int32)}, TypeError, "float64, float32, float16 or bfloat16"),
    "complex numbers": ({"x": np.ones((4, 2), complex)}, TypeError, "float64, float32, float16 or bfloat16"),
    "8 bits": ({"bits": 8}, TypeError, "float64, float32, float16 or bfloat16"),
    "bfloat of 32 bits": ({"code": BFLOAT}, TypeError, "float64, float32, float16 or bfloat16"),
    "vectors as elements": ({"lanes": 4}, TypeError, "float64, float32, float16 or bfloat16"),
    "unaligned": ({"byte_offset": 2}, ValueError, "aligned elements"),
    "a version to come": ({"version": 2}, BufferError, "DLPack 2 is not known here, only 1"),
    "no shape": ({"shape": None}, ValueError, "a DLPack tensor has no shape"),
    "a size below 0": ({"shape": longs(-1, 5)}, ValueError, "a DLPack tensor has a size below 0: -1"),
    "no elements": ({"shape": longs(0, 5)}, ValueError, "a view needs a matrix that is not empty"),
    "more elements than there are numbers": ({"shape": longs(1 << 62, 4)}, ValueError, "more elements than 64 bits"),
    "more bytes than there are numbers": ({"shape": longs(1 << 62, 1)}, ValueError, "more elements than 64 bits"),
    "strides beyond memory": ({"strides": longs(1 << 61, 1)}, ValueError, "more elements than 64 bits"),
    "the least stride": ({"strides": longs(-(1 << 63), 1)}, ValueError, "strides beyond 64 bits"),
    "strides below the first address": ({"strides": longs(-(1 << 58), 1)}, ValueError, "beyond the address space"),
    "no memory": ({"data": None}, ValueError, "a DLPack tensor has no memory"),
    "an offset beyond memory": ({"byte_offset": (1 << 64) - 4}, ValueError, "begins beyond the address space"),
    "dimensions below 0": ({"ndim": -3}, ValueError, "needs a matrix, got -3 dimensions"),
    "another device": ({"device": (8, 0)}, RuntimeError, "DLPack device 8 is neither the CPU nor CUDA"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_capsule_stays_its_producers(case: str) -> None:
    said, error, words = REFUSED[case]
    export = Export(**{"x": data()} | said)
    capsule = export.capsule()

    with pytest.raises(error, match=re.escape(words)):
        _core.View.from_dlpack(capsule)

    assert export.deleted == 0
    del capsule
    assert export.deleted == 1


class Foreign:
    """An array of no library, which gives out the capsule it has."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize(
    "case", ["no shape", "a size below 0", "no memory", "strides beyond memory", "the least stride"]
)
def test_numpy_is_not_given_a_capsule_that_cannot_be_followed(case: str, version: int | None) -> None:
    export = Export(data(), version=version, **REFUSED[case][0])

    with pytest.raises(TypeError, match=r"^X, a \w+ Foreign, could not be read as an array: a DLPack tensor has "):
        as_matrix(Foreign(export.capsule()), "X")

    assert export.deleted == 1


# ---- without a device -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_device() -> None:
    if not _core.cuda_status():
        pytest.skip("this machine has a CUDA device")


@pytest.mark.parametrize("kind", [CUDA, MANAGED])
@pytest.mark.usefixtures("no_device")
def test_capsule_of_a_device_says_why_there_is_none(kind: int) -> None:
    capsule = Export(data(), (kind, 0)).capsule()
    with pytest.raises(RuntimeError, match=re.escape(_core.cuda_status())):
        _core.View.from_dlpack(capsule)


@pytest.mark.usefixtures("no_device")
def test_device_array_is_refused_with_the_reason_and_the_way_out() -> None:
    words = rf"^Y is on cuda:1, but {re.escape(_core.cuda_status())}; move it to the CPU first \(Y.cpu\(\) in torch, "
    with pytest.raises(RuntimeError, match=words):
        gm.cka(data(), DeviceArray(data(), (CUDA, 1)))


@pytest.mark.usefixtures("no_device")
def test_nothing_is_asked_of_an_array_that_cannot_be_read() -> None:
    x = DeviceArray(data())
    with pytest.raises(RuntimeError, match="X is on cuda:0"):
        as_matrix(x, "X")
    assert x.asked == {}


@pytest.mark.usefixtures("no_device")
def test_info_says_why_there_is_no_device() -> None:
    assert gm.info()["devices"] == ["cpu"]
    assert gm.info()["cuda"] == _core.cuda_status()
    assert _core.cuda_devices() == []


def test_rows_of_the_host_are_not_copied_to_it() -> None:
    with pytest.raises(ValueError, match="on the host already"):
        _core.rows_to_host([as_matrix(data(), "X").view], np.arange(2))


def test_device_matrix_is_no_ndarray() -> None:
    m = as_matrix(data(), "X")
    x = Matrix(m.view, m.n, m.d, m.dtype, "cuda:0", None, None)
    with pytest.raises(TypeError, match=r"^a matrix on cuda:0 is no ndarray; block and take copy rows of it$"):
        x.numpy()


# ---- with one -------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch


@pytest.fixture
def cupy() -> Any:
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("CuPy sees no CUDA device")
    return cupy


@pytest.fixture
def jax() -> Any:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no CUDA device")
    return jax


@pytest.fixture
def two_devices(torch: Any) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")


LAYOUTS = {
    "row-major": lambda x: x,
    "transposed": lambda x: x.T,
    "every other row and column": lambda x: x[::2, 1::2],
    "one row for all": lambda x: x[:1] + 0 * x[:1],
    "odd offset": lambda x: x[1:, 1:],
}


@pytest.mark.cuda
def test_info_lists_the_device() -> None:
    found = gm.info()
    assert re.match(r"^cuda:0 .+ \(sm_\d+, \d+ SMs, \d+ GiB\)$", found["devices"][1])
    assert found["cuda"] is None


@pytest.mark.cuda
class TestTorch:
    @pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
    def test_is_read_in_place(self, torch: Any, dtype: str) -> None:
        x = torch.from_numpy(data()).to("cuda", getattr(torch, dtype))

        m = as_matrix(x, "X")
        want = x.double().cpu().numpy()
        x[3, 2] = torch.inf
        torch.cuda.synchronize()

        assert (m.dtype, m.device, m.shape, m.data) == (dtype, "cuda:0", (7, 5), None)
        assert m.view.first_nonfinite() == 3
        assert np.array_equal(m.block(0, 3), want[:3])
        assert np.array_equal(m.take(np.array([6, 0, 6])), want[[6, 0, 6]])

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
    def test_strides_are_followed(self, torch: Any, layout: str, dtype: str) -> None:
        x = LAYOUTS[layout](torch.from_numpy(data(9, 8)).to("cuda", getattr(torch, dtype)))
        assert np.array_equal(as_matrix(x, "X").block(0, len(x)), x.double().cpu().numpy())

    def test_rows_on_top_of_each_other_are_read(self, torch: Any) -> None:
        x = torch.from_numpy(data()).cuda()[:1].expand(6, 5)
        assert np.array_equal(as_matrix(x, "X").block(0, 6), x.double().cpu().numpy())

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
    def test_integers_become_float64(self, torch: Any, dtype: str) -> None:
        x = torch.arange(14, device="cuda").reshape(7, 2).to(getattr(torch, dtype))
        m = as_matrix(x, "X")
        assert (m.dtype, m.device) == ("float64", "cuda:0")
        assert np.array_equal(m.block(0, 7), x.cpu().numpy())

    def test_gradients_are_left_behind(self, torch: Any) -> None:
        x = torch.nn.Parameter(torch.from_numpy(data()).cuda())
        assert np.array_equal(as_matrix(x, "X").block(0, 7), data())
        assert x.requires_grad

    def test_lazy_negation_is_resolved(self, torch: Any) -> None:
        x = torch._neg_view(torch.from_numpy(data()).cuda())
        assert np.array_equal(as_matrix(x, "X").block(0, 7), -data())

    def test_memory_outlives_the_callers_tensor(self, torch: Any) -> None:
        m = as_matrix(torch.from_numpy(data()).cuda(), "X")
        scribble = [torch.full((7, 5), torch.nan, device="cuda") for _ in range(64)]
        assert m.view.first_nonfinite() == -1
        assert len(scribble) == 64

    def test_values_still_on_their_way_are_waited_for(self, torch: Any) -> None:
        x = torch.zeros(300, 4, device="cuda")
        late = torch.from_numpy(data(300, 4)).cuda()
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(200_000_000)
            x.copy_(late)
            m = as_matrix(x, "X")
        assert np.array_equal(m.block(0, 300), data(300, 4))

    def test_measure_inside_a_stream_is_that_outside(self, torch: Any) -> None:
        want = gm.cka(data(300, 4), data(300, 4)[:, :2], "rbf")
        with torch.cuda.stream(torch.cuda.Stream()):
            x = torch.from_numpy(data(300, 4)).cuda(non_blocking=True)
            got = gm.cka(x, x[:, :2], "rbf")
        assert got == pytest.approx(want, rel=1e-5)

    @pytest.mark.parametrize("row", [0, 1, 4095, 9999])
    @pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
    def test_first_bad_row_is_named(self, torch: Any, dtype: str, row: int) -> None:
        x = torch.from_numpy(data(10_000, 5)).to("cuda", getattr(torch, dtype))
        x[row, 3] = torch.nan
        with pytest.raises(ValueError, match=rf"^Y has NaN in row {row}, column 3 \(its first bad row\)"):
            as_matrix(x, "Y")

    def test_complex_and_float8_are_refused(self, torch: Any) -> None:
        with pytest.raises(TypeError, match=r"^X must hold real numbers, got torch.complex64"):
            as_matrix(torch.zeros(4, 3, dtype=torch.complex64, device="cuda"), "X")
        with pytest.raises(TypeError, match=r"^X, a torch Tensor, could not be read as an array"):
            as_matrix(torch.zeros(4, 3, device="cuda").to(torch.float8_e4m3fn), "X")

    def test_shapes_are_refused_with_the_way_out(self, torch: Any) -> None:
        with pytest.raises(ValueError, match=r"for 4 samples of one feature use X.reshape\(-1, 1\)"):
            as_matrix(torch.zeros(4, device="cuda"), "X")
        with pytest.raises(ValueError, match="X is empty: it has 0 rows and 5 columns"):
            as_matrix(torch.zeros(0, 5, device="cuda"), "X")

    def test_arrays_of_both_sides_name_them(self, torch: Any) -> None:
        with pytest.raises(ValueError, match=r"^X is on cpu but Y is on cuda:0; move one of them$"):
            gm.cka(data(), torch.from_numpy(data()).cuda())

    @pytest.mark.usefixtures("two_devices")
    def test_device_need_not_be_the_current_one(self, torch: Any) -> None:
        x = torch.from_numpy(data(300, 4)).to("cuda:1")
        m = as_matrix(x, "X")
        assert (m.device, torch.cuda.current_device()) == ("cuda:1", 0)
        assert gm.cka(m, m, "rbf", estimator="biased") == pytest.approx(1.0, rel=1e-6)
        assert torch.cuda.current_device() == 0
        with pytest.raises(ValueError, match=r"^X is on cuda:1 but Y is on cuda:0; move one of them$"):
            gm.cka(x, x.to("cuda:0"))


@pytest.mark.cuda
class TestCuPy:
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_is_read_in_place(self, cupy: Any, dtype: str) -> None:
        x = cupy.asarray(data(dtype=dtype))

        m = as_matrix(x, "X")
        x[3, 2] = cupy.inf
        cupy.cuda.Device().synchronize()

        assert (m.dtype, m.device, m.shape) == (dtype, "cuda:0", (7, 5))
        assert m.view.first_nonfinite() == 3
        assert np.array_equal(m.block(0, 3), data(dtype=dtype)[:3])

    @pytest.mark.parametrize("layout", [*LAYOUTS, "backwards"])
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_strides_are_followed(self, cupy: Any, layout: str, dtype: str) -> None:
        make = (LAYOUTS | {"backwards": lambda x: x[::-1, ::-1]})[layout]
        x = make(cupy.asarray(data(9, 8, dtype)))
        assert np.array_equal(as_matrix(x, "X").block(0, len(x)), cupy.asnumpy(x))

    @pytest.mark.parametrize("dtype", ["bool", "int16", "uint64"])
    def test_integers_become_float64(self, cupy: Any, dtype: str) -> None:
        m = as_matrix(cupy.arange(14).reshape(7, 2).astype(dtype), "X")
        assert (m.dtype, m.device) == ("float64", "cuda:0")

    def test_complex_is_refused(self, cupy: Any) -> None:
        with pytest.raises(TypeError, match=r"^X must hold real numbers, got complex64"):
            as_matrix(cupy.zeros((4, 3), cupy.complex64), "X")

    def test_values_still_on_their_way_are_waited_for(self, cupy: Any) -> None:
        a = cupy.full((4096, 4096), 1 / 4096, cupy.float32)
        cupy.cuda.Device().synchronize()
        with cupy.cuda.Stream(non_blocking=True):
            x = a
            for _ in range(30):
                x = x @ a
            m = as_matrix(x[:, :3] + 1, "X")
        assert np.allclose(m.block(0, 4096), 1 + 1 / 4096)

    def test_managed_memory_is_read_in_place(self, cupy: Any) -> None:
        with cupy.cuda.using_allocator(cupy.cuda.MemoryPool(cupy.cuda.malloc_managed).malloc):
            x = cupy.asarray(data())
        assert int(x.__dlpack_device__()[0]) == MANAGED
        m = as_matrix(x, "X")
        assert m.device == "cuda:0"
        assert np.array_equal(m.block(0, 7), data())


@pytest.mark.cuda
class TestJax:
    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_is_read_though_it_is_read_only(self, jax: Any, dtype: str) -> None:
        x = jax.numpy.asarray(data()).astype(dtype)
        m = as_matrix(x, "X")
        assert (m.dtype, m.device, m.shape) == (dtype, "cuda:0", (7, 5))
        assert np.array_equal(m.block(0, 7), np.asarray(x, np.float64))

    def test_float64_is_read(self, jax: Any) -> None:
        jax.config.update("jax_enable_x64", True)
        try:
            m = as_matrix(jax.numpy.asarray(data(dtype="float64")), "X")
            whole = as_matrix(jax.numpy.arange(14).reshape(7, 2), "X")
        finally:
            jax.config.update("jax_enable_x64", False)
        assert m.dtype == whole.dtype == "float64"
        assert np.array_equal(m.block(0, 7), data(dtype="float64"))

    def test_integers_without_float64_are_refused_with_the_way_out(self, jax: Any) -> None:
        with pytest.raises(TypeError, match=r"^X is int32 and .* convert X to a float dtype first"):
            as_matrix(jax.numpy.arange(14).reshape(7, 2), "X")

    def test_values_still_on_their_way_are_waited_for(self, jax: Any) -> None:
        a = jax.numpy.full((4096, 4096), 1 / 4096)
        x = a
        for _ in range(30):
            x = x @ a
        assert np.allclose(as_matrix(x[:, :3] + 1, "X").block(0, 4096), 1 + 1 / 4096)


@pytest.mark.cuda
@pytest.mark.parametrize("library", ["torch", "cupy", "jax"])
def test_measure_takes_arrays_of_every_library(library: str, request: Any) -> None:
    module = request.getfixturevalue(library)
    make = {"torch": lambda x: module.from_numpy(x).cuda(), "cupy": lambda x: module.asarray(x)}
    put = make.get(library, lambda x: module.numpy.asarray(x))
    x, y = data(300, 8), data(300, 8)[:, :3] ** 2
    assert gm.cka(put(x), put(y), "rbf") == pytest.approx(gm.cka(x, y, "rbf"), rel=1e-5)


# ---- at an emulated one ---------------------------------------------------------------------------------------------


def test_device_array_is_read_in_place(emulated_gpu: Any, core: Any) -> None:
    x = DeviceArray(data())

    m = as_matrix(x, "X")
    x.x[4, 0] = np.nan

    assert (m.dtype, m.device, m.shape, m.data, m.owner) == ("float32", "cuda:0", (7, 5), None, x)
    assert isinstance(m.view, core.View)
    assert m.view.first_nonfinite() == 4


def test_producer_is_told_the_stream(emulated_gpu: Any) -> None:
    x = DeviceArray(data())
    as_matrix(x, "X")
    assert x.asked == {"stream": 1, "max_version": (1, 0)}


def test_producer_from_before_versions_is_read(emulated_gpu: Any) -> None:
    class Old(DeviceArray):
        def __dlpack__(self, stream: int | None = None) -> Any:
            return Export(self.x, self.place).capsule()

    assert np.array_equal(as_matrix(Old(data()), "X").block(0, 7), data())


def test_managed_memory_is_the_devices(emulated_gpu: Any) -> None:
    assert as_matrix(DeviceArray(data(), (MANAGED, 0)), "X").device == "cuda:0"


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
@pytest.mark.parametrize("layout", [*LAYOUTS, "backwards"])
def test_blocks_and_rows_of_a_device_are_copied_as_float64(emulated_gpu: Any, layout: str, dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    whole = data(9, 8).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = (LAYOUTS | {"backwards": lambda x: x[::-1, ::-1]})[layout](whole)

    m = as_matrix(DeviceArray(x), "X")

    want = x.astype(np.float64)
    assert np.array_equal(m.block(0, 1), want[:1])
    assert np.array_equal(m.block(0, 99), want)
    assert np.array_equal(m.take(np.arange(len(x))[::-1]), want[::-1])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64"])
def test_integers_of_a_device_become_float64_there(emulated_gpu: Any, dtype: str) -> None:
    x = (10 * np.abs(data())).astype(dtype)
    m = as_matrix(DeviceArray(x), "X")
    assert (m.dtype, m.device) == ("float64", "cuda:0")
    assert np.array_equal(m.block(0, 7), x)


def test_library_without_float64_is_told_so(emulated_gpu: Any) -> None:
    class Narrow(DeviceArray):
        def astype(self, dtype: Any) -> DeviceArray:
            return DeviceArray(self.x.astype(np.float32))

    words = r"^X is int32 and a \w+ Narrow could not be made float64 where it lies; convert X to a float dtype first"
    with pytest.raises(TypeError, match=words):
        as_matrix(Narrow(np.ones((4, 2), np.int32)), "X")


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones((4, 2), complex), TypeError, "X must hold real numbers, got complex128; put real and imaginary parts"),
        (np.ones(5), ValueError, "for 5 samples of one feature use X.reshape(-1, 1)"),
        (np.ones((0, 3)), ValueError, "X is empty: it has 0 rows and 3 columns"),
        (np.array([[1, 2], [3, np.inf]]), ValueError, "X has infinity in row 1, column 1 (its first bad row)"),
    ],
)
def test_gate_speaks_of_device_arrays_as_of_others(
    emulated_gpu: Any, x: np.ndarray, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        as_matrix(DeviceArray(x), "X")


def test_failing_export_of_a_device_array_is_a_type_error(emulated_gpu: Any) -> None:
    class Failing(DeviceArray):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("not now")

    with pytest.raises(TypeError, match=r"^X, a \w+ Failing, could not be read as an array: not now$"):
        as_matrix(Failing(data()), "X")


def test_arrays_on_two_devices_are_refused(emulated_gpu: Any) -> None:
    with pytest.raises(ValueError, match=r"^X is on cpu but Y is on cuda:0; move one of them$"):
        gm.cka(data(), DeviceArray(data()))


def test_views_on_two_devices_are_refused_by_the_native_code_too(emulated_gpu: Any, core: Any) -> None:
    views = [as_matrix(x, "X").view for x in (data(), DeviceArray(data()))]
    with pytest.raises(ValueError, match="views of one call lie on one device"):
        core.pair_distances(views, *PAIR, l1=False)


def test_info_lists_the_emulated_device(emulated_gpu: Any) -> None:
    found = gm.info()
    assert re.match(r"^cuda:0 .+ \(sm_\d+, \d+ SMs, \d+ GiB\)$", found["devices"][1])
    assert found["cuda"] is None
