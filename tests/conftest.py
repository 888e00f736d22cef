"""A test that takes `device` runs on the CPU, and on CUDA where gramian finds a device: with --emulator, everywhere."""

import importlib

import pytest

import emulator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--emulator", action="store_true", help="test the CUDA engine on the emulator of tests/emulator")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--emulator"):
        core = emulator.load("gramian._core", emulator.build("_core"))
        importlib.import_module("gramian")._core = core


@pytest.fixture(scope="session")
def emulator_selftest():
    if emulator.compiler() is None:
        pytest.skip("NO C++ COMPILER: nothing of the CUDA engine or its emulator is tested")
    return emulator.load("_selftest", emulator.build("_selftest"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices(), scope="session")


def devices() -> list[str]:
    import gramian

    found = gramian.info()["devices"]
    return [kind for kind in ("cpu", "cuda") if any(name.startswith(kind) for name in found)]


@pytest.fixture
def restored_threads():
    import gramian

    before = gramian.get_num_threads()
    yield
    gramian.set_num_threads(before)
