"""A test that takes `device` runs on the CPU, and on CUDA where gramian finds a device."""

import pytest


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
