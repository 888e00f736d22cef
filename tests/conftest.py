"""What tests run on.

A test that takes `device` runs on the CPU, and on CUDA where gramian finds a device: with --emulator, everywhere. One
that takes `on_device` runs on the emulated GPU, and on a real one where there is one.
"""

import importlib
import signal
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import emulator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--emulator", action="store_true", help="test the CUDA engine on the emulator of tests/emulator")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell's job in the background ignores Ctrl-C, and so would every program that a test starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--emulator"):
        core = emulator.load("gramian._core", emulator.build("_core"))
        importlib.import_module("gramian")._core = core


@pytest.fixture(scope="session")
def emulator_selftest():
    if emulator.compiler() is None:
        pytest.skip("NO C++ COMPILER: nothing of the CUDA engine or its emulator is tested")
    return emulator.load("_selftest", emulator.build("_selftest"))


@pytest.fixture(scope="session")
def core():
    """gramian's compiled module with the CUDA engine, on the emulator."""
    import gramian

    if hasattr(gramian._core, "emulator"):
        return gramian._core
    if emulator.compiler() is None:
        pytest.skip("NO C++ COMPILER: nothing of the CUDA engine or its emulator is tested")
    return emulator.load("emulated._core", emulator.build("_core"))


@pytest.fixture
def gpu(core: ModuleType):
    """The same, on a device as it usually is; it has to be left as empty as it was found."""
    core.emulator.configure()
    yield core
    core.emulator.configure()
    assert core.emulator.live_allocations() == 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        marks = {"cuda": pytest.mark.cuda}  # so that -m cuda is everything that a real device runs
        values = [pytest.param(kind, marks=marks.get(kind, ())) for kind in devices()]
        metafunc.parametrize("device", values, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    import gramian

    if not item.get_closest_marker("cuda") or "device" in getattr(item, "fixturenames", ()):
        return  # a `device` is one that is there, the emulated one among them
    if "cuda" not in devices() or hasattr(gramian._core, "emulator"):
        pytest.skip(f"NO CUDA DEVICE: {gramian.info()['cuda'] or 'it is emulated'}")


def devices() -> list[str]:
    import gramian

    found = gramian.info()["devices"]
    return [kind for kind in ("cpu", "cuda") if any(name.startswith(kind) for name in found)]


@pytest.fixture(params=["sm_90", "sm_80", pytest.param("cuda", marks=pytest.mark.cuda)])
def on_device(request: pytest.FixtureRequest):
    """What puts a NumPy array on the GPU of a test."""
    if request.param == "cuda":
        return on_cuda
    put = request.getfixturevalue("emulated_gpu")
    request.getfixturevalue("gpu").emulator.configure(capability=int(request.param[3:]))
    return put


@pytest.fixture
def emulated_gpu(gpu: ModuleType):
    """The same, on the emulated one."""
    from device import emulated

    with emulated(gpu) as put:
        yield put


def on_cuda(x: np.ndarray) -> Any:
    torch = pytest.importorskip("torch", reason="CUDA arrays are made with torch")
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16).cuda()
    return torch.from_numpy(x.copy()).cuda()


@pytest.fixture
def restored_threads():
    import gramian

    before = gramian.get_num_threads()
    yield
    gramian.set_num_threads(before)
