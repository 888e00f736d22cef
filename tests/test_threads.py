"""The work may be cut in any way and stopped at any time: threads, memory, shards, forks, signals, callbacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from accuracy import CASES, ESTIMATORS, MEASURES, TILE_EDGE, as_input, assert_as_accurate, hard_pair, reference
from gramian.rows.arrays import as_matrix
from gramian.sweeps import gram
from gramian.sweeps.products import multiply_centred, sweep_products, sweep_star
from gramian.sweeps.represent import represent

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
N = 5 * TILE_EDGE + 7
WIDE = 1100  # more features than are packed at once when memory is short
# from a budget that leaves room for one tile and 1024 features, by blocks of a few tiles, to all at once
BUDGETS = (1, 4 << 20, 16 << 20, 1 << 30)
pytestmark = pytest.mark.usefixtures("restored_threads")


def words(g: gm.GramMoments) -> dict[str, Any]:
    """All that a sweep has found, to the bit."""
    return {
        name: getattr(g, name)
        for name in ("pair_words", "row_words", "scaled_shift", "scaled_diagonal", "exponent", "base", "rounding")
    }


def assert_same_bits(got: gm.GramMoments, want: gm.GramMoments) -> None:
    for name, value in words(want).items():
        np.testing.assert_array_equal(words(got)[name], value, strict=True, err_msg=name)
    assert (got.tiles, got.fingerprint) == (want.tiles, want.fingerprint)


def arrays(dtype: str = "float32", n: int = N, widths: tuple[int, ...] = (7, 33, 64)) -> list[Any]:
    pairs = [hard_pair(n, d, d, seed=d, dtype=dtype)[0] for d in widths]
    return [as_input(X, dtype) for X in pairs]


def run_python(code: str, *arguments: str, timeout: float = 120, **environment: str) -> str:
    """What a new interpreter prints; it finds the modules of this folder."""
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


# ---- threads, memory and shards change no bit ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_thread_count_changes_no_bit(name: str, dtype: str) -> None:
    found = []
    for threads in (1, 2, 3, 5):
        gm.set_num_threads(threads)
        found.append(gm.gram_moments(*arrays(dtype), kernel=CASES[name].kernel))
    for other in found[1:]:
        assert_same_bits(other, found[0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_memory_budget_changes_no_bit(name: str, dtype: str) -> None:
    for widths in ((WIDE,), (7, WIDE), (7, WIDE, 40)):
        xs = arrays(dtype, n=2 * TILE_EDGE + 5, widths=widths)
        found = [gm.gram_moments(*xs, kernel=CASES[name].kernel, memory=memory) for memory in (None, *BUDGETS)]
        for other in found[1:]:
            assert_same_bits(other, found[0])


@pytest.mark.parametrize("d", [1023, 1024, 1025, 2049])
@pytest.mark.parametrize("name", ["linear", "cosine", "rbf", "laplacian", "arc_cosine_1", "distance"])
def test_number_of_features_around_a_chunk_changes_no_bit(name: str, d: int) -> None:
    (x,) = arrays("float32", n=TILE_EDGE + 3, widths=(d,))
    whole, chunked = (gm.gram_moments(x, kernel=CASES[name].kernel, memory=m) for m in (1 << 30, 1))
    assert_same_bits(chunked, whole)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("size", [2, 7, 40])
def test_shards_add_to_the_same_bits(size: int, memory: int | None, threads: int) -> None:
    xs = arrays(widths=(5, 19))
    whole = gm.gram_moments(*xs, kernel="rbf")
    gm.set_num_threads(threads)
    parts = [gm.gram_moments(*xs, kernel="rbf", memory=memory, shard=(rank, size)) for rank in range(size)]
    assert_same_bits(sum(parts[1:], parts[0]), whole)


def test_a_shard_without_tiles_adds_nothing() -> None:
    xs = arrays(n=50)
    whole, nothing = gm.gram_moments(*xs), gm.gram_moments(*xs, shard=(0, 5))
    assert nothing.tiles == ()
    assert not nothing.pair_words.any()
    assert not nothing.row_words.any()
    assert_same_bits(nothing + whole, whole)


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_second_passes_change_no_bit_either(threads: int, memory: int | None) -> None:
    x, y = (represent("rbf", as_matrix(a, "X")) for a in arrays(widths=(7, WIDE)))
    g = gram.sweep_moments([x, y])
    vectors = np.random.default_rng(0).normal(size=(N, 5))

    def everything() -> list[Any]:
        products = sweep_products([x, y], g.scaled_shift, g.base, weights=(0.5, 0.25), memory=memory)
        return [
            *(products.row_sums, products.squares, products.difference, products.diagonal),
            sweep_star(x, [y, x], memory=memory),
            multiply_centred(gram.shifted([x], g.scaled_shift[:1], g.base[:1])[0], vectors),
        ]

    gm.set_num_threads(4)
    want = everything()
    gm.set_num_threads(threads)
    for got, expected in zip(everything(), want, strict=True):
        np.testing.assert_array_equal(got, expected)


# ---- several callers -------------------------------------------------------------------------------------------------


def test_callers_on_several_python_threads_get_their_own_results() -> None:
    inputs = [arrays(n=300 + 50 * i, widths=(3 + i,)) for i in range(8)]
    want = [gm.gram_moments(*xs, kernel="rbf") for xs in inputs]
    with ThreadPoolExecutor(8) as executor:
        got = list(executor.map(lambda xs: gm.gram_moments(*xs, kernel="rbf"), inputs * 5))
    for one, expected in zip(got, want * 5, strict=True):
        assert_same_bits(one, expected)


def test_thread_count_may_change_while_others_compute() -> None:
    xs = arrays(n=700)
    want = gm.gram_moments(*xs, kernel="rbf")

    def compute(i: int) -> gm.GramMoments:
        gm.set_num_threads(1 + i % 5)
        return gm.gram_moments(*xs, kernel="rbf")

    with ThreadPoolExecutor(4) as executor:
        for got in executor.map(compute, range(24)):
            assert_same_bits(got, want)


def test_other_python_threads_run_during_a_sweep() -> None:
    turns, stop = [], threading.Event()

    def take_turns() -> None:
        while not stop.wait(0.001):
            turns.append(time.monotonic())

    other = threading.Thread(target=take_turns)
    gm.set_num_threads(1)
    x = np.random.default_rng(0).normal(size=(8000, 64))
    other.start()
    begin = time.monotonic()
    gm.gram_moments(x, kernel="rbf")
    end = time.monotonic()
    stop.set()
    other.join()
    # holding the interpreter's lock, a sweep would let no one in between its first and last moment
    assert sum(begin < turn < end for turn in turns) > 10


FORK = """
import os, sys, threading
import numpy as np, gramian as gm
x = np.random.default_rng(0).normal(size=(1000, 8))
gm.set_num_threads(3)
want = gm.gram_moments(x, kernel="rbf")
same = lambda: bool((gm.gram_moments(x, kernel="rbf").pair_words == want.pair_words).all())
busy = threading.Thread(target=lambda: gm.gram_moments(np.ones((20000, 64)) * np.arange(20000)[:, None], kernel="rbf"))
if sys.argv[1] == "during":
    busy.start()
child = os.fork()
if child == 0:
    os._exit(0 if same() and same() else 1)
_, status = os.waitpid(child, 0)
if busy.ident:
    busy.join()
print(os.waitstatus_to_exitcode(status), same())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("when", ["after", "during"])
def test_a_forked_child_computes_the_same(when: str) -> None:
    assert run_python(FORK, when) == "0 True"


FORKS = """
import os, sys, threading, time
import numpy as np, gramian as gm
rng = np.random.default_rng(0)
x, large = rng.normal(size=(100, 8)), rng.normal(size=(3000, 16))
y = x**2 + rng.normal(size=x.shape)
calls = [
    lambda x, y: gm.cka(x, y, "rbf"),
    lambda x, y: gm.cka(x, y),
    lambda x, y: gm.fit_stitch(x, y, ridge=0.1).misalignment,
    lambda x, y: gm.rsa(x, y, correlation="spearman"),
]
want, stop = [call(x, y) for call in calls], threading.Event()

def busy(call):
    while not stop.is_set():
        call(large, large**2)

threads = [threading.Thread(target=busy, args=[call]) for call in calls[:3]]
for thread in threads:
    thread.start()
codes = []
for i in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os._exit(0 if [call(x, y) for call in calls] == want else 1)
    end = time.monotonic() + 30
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, 9)
        ended = os.waitpid(child, 0)
    codes.append(os.waitstatus_to_exitcode(ended[1]))
    time.sleep(0.01 * (i % 7))
stop.set()
for thread in threads:
    thread.join()
print(codes == [0] * len(codes), codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("forks", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_children_forked_while_threads_compute_find_the_right_numbers(forks: int) -> None:
    # OpenBLAS stops its own threads at a fork, and a product of NumPy that another thread is in never ends
    said = run_python(FORKS, str(forks), timeout=600, OPENBLAS_NUM_THREADS="1")
    assert said.startswith("True"), said


# ---- progress --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_progress_never_goes_back_and_ends_at_the_total(kernel: str) -> None:
    calls: list[tuple[int, int]] = []
    gm.gram_moments(*arrays(n=3000), kernel=kernel, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len({total for _, total in calls}) == 1
    assert calls[-1][0] == calls[-1][1]


def test_progress_of_the_feature_route_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    x = np.random.default_rng(0).normal(size=(40_000, 80))
    gm.cka(x, x[:, :50] ** 2, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len({done for done, _ in calls}) > 2
    assert calls[-1][0] == calls[-1][1]


def test_progress_is_called_on_the_callers_thread() -> None:
    callers = set()
    gm.gram_moments(*arrays(n=3000), kernel="rbf", progress=lambda *_: callers.add(threading.get_ident()))
    assert callers == {threading.get_ident()}


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_an_exception_of_progress_comes_out_and_does_no_harm(kernel: str, at: str) -> None:
    x = np.random.default_rng(0).normal(size=(6000, 32))
    want = gm.cka(x, x**2, kernel)

    def progress(done: int, total: int) -> None:
        if at == "start" or done == total:
            raise Stop(done)

    with pytest.raises(Stop):
        gm.cka(x, x**2, kernel, progress=progress)
    assert gm.cka(x, x**2, kernel) == want


def test_a_callback_may_wait_for_other_threads_that_compute() -> None:
    x, (small,) = np.random.default_rng(0).normal(size=(24_000, 16)), arrays(n=700, widths=(5,))
    want, alone = gm.gram_moments(x, kernel="rbf"), gm.gram_moments(small, kernel="rbf")
    found: list[gm.GramMoments] = []

    def compute() -> None:
        found.append(gm.gram_moments(small, kernel="rbf"))

    def progress(done: int, total: int) -> None:
        if done < total and len(found) < 3:
            other = threading.Thread(target=compute, daemon=True)
            other.start()
            other.join(60)
            assert not other.is_alive(), "it waits for the turn of the call whose callback waits for it"

    gm.set_num_threads(2)
    got = gm.gram_moments(x, kernel="rbf", progress=progress)

    assert found
    assert_same_bits(got, want)
    for other in found:
        assert_same_bits(other, alone)


def test_a_callback_may_compute() -> None:
    x, (small,) = np.random.default_rng(0).normal(size=(24_000, 16)), arrays(n=700, widths=(5,))
    want, alone = gm.gram_moments(x, kernel="rbf"), gm.gram_moments(small, kernel="rbf")
    found: list[gm.GramMoments] = []

    def progress(done: int, total: int) -> None:
        found.append(gm.gram_moments(small, kernel="rbf", progress=lambda *_: gm.gram_moments(small)))

    got = gm.gram_moments(x, kernel="rbf", progress=progress)

    assert_same_bits(got, want)
    for nested in found:
        assert_same_bits(nested, alone)


FORKING_CALLBACK = """
import os
import numpy as np, gramian as gm
x = np.random.default_rng(0).normal(size=(20_000, 16))
small, children = x[:900].copy(), []
want, alone = (gm.gram_moments(z, kernel=gm.RBF(4.0)).pair_words for z in (x, small))
same = lambda: bool((gm.gram_moments(small, kernel=gm.RBF(4.0)).pair_words == alone).all())
def progress(done, total):
    if 0 < done < total and len(children) < 2:
        children.append(os.fork())
        if children[-1] == 0 and len(children) == 1:
            os._exit(0 if same() else 1)  # as multiprocessing does: it never returns from the callback
try:
    said = bool((gm.gram_moments(x, kernel=gm.RBF(4.0), progress=progress).pair_words == want).all())
except RuntimeError as error:
    said = error
if children[-1] == 0:
    os._exit(0 if same() and "only the parent can go on" in str(said) else 1)
print(said, [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_callback_may_fork_and_only_the_parent_goes_on() -> None:
    assert run_python(FORKING_CALLBACK) == "True [0, 0]"


# ---- signals ---------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import sys
import numpy as np, gramian as gm
call, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
if call == "median_bandwidth":
    x = rng.standard_normal((n, d), dtype=np.float32)
else:
    x = np.lib.stride_tricks.sliding_window_view(rng.standard_normal(n + d - 1, dtype=np.float32), d)  # takes no memory
small = rng.normal(size=(100, 5))
want = gm.cka(small, small**2, "rbf")
print("ready", flush=True)
try:
    gm.median_bandwidth(x) if call == "median_bandwidth" else gm.gram_moments(x, kernel=call)
    print("finished")
except KeyboardInterrupt:
    print("interrupted", gm.cka(small, small**2, "rbf") == want)
"""


def seconds_to_stop(*arguments: str, after: float) -> float:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(after)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert said.split() == ["interrupted", "True"]
    return time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    ("call", "n", "d"),
    [
        ("rbf", "200000", "32"),
        ("laplacian", "40000", "2048"),
        ("linear", "40000", "4096"),
        ("median_bandwidth", "20000", "8192"),
    ],
)
@pytest.mark.parametrize("after", [0.1, 0.8])
def test_ctrl_c_is_heard_within_a_second(call: str, n: str, d: str, after: float) -> None:
    # the best of three, since the machine may have other things to do
    assert min(seconds_to_stop(call, n, d, after=after) for _ in range(3)) < 1


# ---- the machine -----------------------------------------------------------------------------------------------------


@linux
def test_affinity_limits_the_threads() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import gramian as gm; print(gm.get_num_threads(), gm.info()['cpus'])"
    )
    assert run_python(code) == "1 1"


@pytest.mark.parametrize(("given", "want"), [("3", 3), ("0", None), ("-2", None), ("many", None), ("", None)])
def test_environment_sets_the_threads(given: str, want: int | None) -> None:
    code = "import gramian as gm; print(gm.get_num_threads(), gm.info()['cpus'])"
    threads, cpus = map(int, run_python(code, GRAMIAN_NUM_THREADS=given).split())
    assert threads == (want or cpus)


def test_set_num_threads_goes_before_the_environment_and_none_goes_back() -> None:
    code = (
        "import gramian as gm\n"
        "gm.set_num_threads(2); first = gm.get_num_threads()\n"
        "gm.set_num_threads(None); print(first, gm.get_num_threads())"
    )
    assert run_python(code, GRAMIAN_NUM_THREADS="3") == "2 3"


@pytest.mark.parametrize("count", [0, -1])
def test_thread_count_must_be_positive(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be from 1 to 1024, got {count}"):
        gm.set_num_threads(count)


# every kernel function on one pair, by one instruction set
ALL_KERNELS = """
import json, sys
from accuracy import CASES, ESTIMATORS, MEASURES, as_input, hard_pair
import gramian as gm
dtype, n, dx, dy, mean = json.loads(sys.argv[1])
X, Y = (as_input(Z, dtype) for Z in hard_pair(n, dx, dy, mean=mean, dtype=dtype))
found = {
    f"{name} {measure} {estimator}": getattr(gm, measure)(X, Y, case.kernel, estimator=estimator)
    for name, case in CASES.items()
    for measure in MEASURES
    for estimator in ESTIMATORS
}
print(json.dumps([gm.info()["instruction_set"], found]))
"""


@linux
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("instruction_set", ["baseline", "avx2"])
def test_every_instruction_set_is_as_accurate(instruction_set: str, dtype: str) -> None:
    known = ["baseline", "avx2", "avx512"]
    if known.index(instruction_set) >= known.index(gm.info()["instruction_set"]):
        pytest.skip(f"this machine's own is {gm.info()['instruction_set']}")
    shape = (dtype, TILE_EDGE + 1, 7, 40, 1.0)

    used, found = json.loads(run_python(ALL_KERNELS, json.dumps(shape), GRAMIAN_INSTRUCTION_SET=instruction_set))

    assert used == instruction_set
    assert len(found) == len(CASES) * len(MEASURES) * len(ESTIMATORS)
    for key, value in found.items():
        name, *exact = key.split()
        ref, which = reference(name, *shape), tuple(exact)
        assert_as_accurate(value, ref.want[which], ref.naive_errors[which], ref.scale[which], dtype)
