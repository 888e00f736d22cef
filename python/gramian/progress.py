"""One progress bar for a whole call, however many passes it makes.

A public function opens the bar (`one_bar`). What it calls announces phases, each with a name and what it is expected to
cost, and these may have phases of their own, which share their part of the bar. What is handed down is a `Phase`, so a
public function that is called by another one opens no second bar.
"""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, cast

TOTAL = 1000  # of every call, in parts of its expected cost: routes and passes are only chosen on the way
_WIDTH = 30  # characters of the bar that is there without tqdm
_PAUSE = 0.1  # seconds between two drawings of it
_TOOL = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Bar(Protocol):
    """What is used of a tqdm bar."""

    def reset(self, total: float | None = None) -> None: ...
    def update(self, n: float | None = 1) -> object: ...
    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...
    def refresh(self) -> object: ...


Progress: TypeAlias = bool | Callable[..., object] | Bar
Show: TypeAlias = Callable[[int, str], object]  # (done, phase)
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(eq=False)
class _Call:
    """How far the whole call is, and who is told."""

    show: Show
    at: float = 0.0  # part of it that is done

    def tell(self, at: float, phase: str) -> None:
        self.at = max(self.at, at)
        self.show(min(int(self.at * TOTAL), TOTAL - 1), phase)  # the end is told once, when the call is over


@dataclass(eq=False)
class Phase:
    """A part of the bar. Called with (done, total) of its own."""

    call: _Call
    name: str
    begin: float
    end: float
    counted: bool = False  # whether (done, total) say something to people: epochs do, tiles do not
    ahead: float = 0.0  # what its own phases to come are expected to cost
    begun: int = 0  # how many of them have

    def __call__(self, done: int, total: int) -> None:
        part = done / total if total else 1.0
        name = f"{self.name} {done}/{total}" if self.counted else self.name
        self.call.tell(self.begin + (self.end - self.begin) * part, name)

    def next(self, name: str, cost: float, counted: bool, numbered: bool) -> Phase:
        """The next of its phases: its share, by cost, of what is left."""
        self.begun += 1
        if numbered:
            name = f"{name} {self.begun}"
        begin = min(max(self.call.at, self.begin), self.end)
        share = min(1.0, cost / self.ahead) if self.ahead > 0 else 1.0
        self.ahead = max(0.0, self.ahead - cost)
        found = Phase(
            self.call,
            f"{self.name}: {name}" if self.name and name else self.name or name,
            begin,
            begin + (self.end - begin) * share,
            counted,
        )
        if name:
            self.call.tell(begin, found.name)
        return found


def one_bar(function: _Function) -> _Function:
    """A public function whose `progress=` is one bar for the whole call; inside, it is a `Phase` or None."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("progress")
        if given is None or isinstance(given, Phase):
            return function(*args, **kwargs)
        with opened(given, function.__name__) as kwargs["progress"]:
            return function(*args, **kwargs)

    return cast("_Function", called)


@contextmanager
def opened(progress: object, name: str, *, delay: float = 0.0, leave: bool = True) -> Iterator[Any]:
    """The bar of a call: a `Phase`, or None if there is none. What is no bar is handed on, for the gate to refuse."""
    if progress is False or progress is None:
        yield None
    elif isinstance(progress, Phase) or not is_progress(progress):
        yield progress
    else:
        with _shown(progress, name, delay, leave) as show:
            yield Phase(_Call(show), "", 0.0, 1.0)
            show(TOTAL, "")


def expect(progress: Progress | None, cost: float) -> None:
    """Add to what the phases to come of this one are expected to cost, in units of their own; rare ones by odds."""
    if isinstance(progress, Phase):
        progress.ahead += cost


def at_least(progress: Progress | None, cost: float) -> None:
    """Say that phases are to come that cost so much or more, where nobody knows how many."""
    if isinstance(progress, Phase):
        progress.ahead = max(progress.ahead, cost)


def phase(
    progress: Progress | None, name: str, cost: float = 1.0, *, counted: bool = False, numbered: bool = False
) -> Callable[[int, int], object] | None:
    """The next phase, to be handed down or told of; its name is shown from now on. Without one it has its parent's.

    `counted`: what it is told of shows; `numbered`: it has a number among its like, as many as may come.
    """
    if isinstance(progress, Phase):
        return progress.next(name, cost, counted, numbered)
    return progress if callable(progress) else None


def tell(progress: Progress | None, done: int, total: int) -> None:
    """How much of a phase is done."""
    if callable(progress):
        progress(done, total)


def is_progress(given: object) -> bool:
    """Whether it is something that progress can be told to, or a class of bars."""
    if isinstance(given, type):
        return _is_bar(given)
    return given is None or isinstance(given, bool) or callable(given) or _is_bar(given)


@contextmanager
def on_terminal(name: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """The bar of a command: on stderr if that is a terminal, from the first second on, and gone at the end."""
    with opened(not quiet and sys.stderr.isatty(), name, delay=1.0, leave=False) as found:
        yield found


def _is_bar(given: object) -> bool:
    return all(hasattr(given, name) for name in ("reset", "update", "set_postfix_str", "refresh"))


@contextmanager
def _shown(progress: object, name: str, delay: float, leave: bool) -> Iterator[Show]:
    """Who is told: a function, a bar that is given, or one that is opened here and closed whatever happens."""
    if isinstance(progress, type):  # tqdm itself, and not a bar of it
        with _opened_bar(cast("Any", progress), name, delay, leave) as bar:
            yield _to_bar(bar)
        return
    if progress is not True:
        if not _is_bar(progress):
            yield _to_function(cast("Any", progress))
            return
        bar = cast("Bar", progress)
        bar.reset(total=TOTAL)
        yield _to_bar(bar)
        bar.refresh()
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        with _text(name, delay, leave) as show:
            yield show
        return
    with _opened_bar(tqdm, name, delay, leave) as bar:
        yield _to_bar(bar)


def _opened_bar(tqdm: Any, name: str, delay: float, leave: bool) -> Any:
    # every update may draw, so that a phase's name is seen though the count stands still
    return tqdm(desc=name, total=TOTAL, miniters=0, delay=delay, leave=leave, bar_format=_TOOL)


def _to_function(function: Callable[..., object]) -> Show:
    """(done, total), and phase=, if the function has a parameter of that name.

    Raises TypeError for a function that cannot be called so, before there is anything to tell.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions of C need not have one
        return lambda done, phase: function(done, TOTAL)
    parameter = signature.parameters.get("phase")
    named = parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    try:
        signature.bind(0, TOTAL, **({"phase": ""} if named else {}))
    except TypeError as error:
        raise TypeError(
            "progress must be True, a function of (done, total) or a tqdm bar; it is called with the two numbers done "
            f"and total, and with phase= if it has a parameter of that name, but got {_called(function)}{signature}: "
            f"{error}"
        ) from None
    if named:
        return lambda done, phase: function(done, TOTAL, phase=phase)
    return lambda done, phase: function(done, TOTAL)


def _called(function: object) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "a lambda " if name == "<lambda>" else str(name)


def _to_bar(bar: Bar) -> Show:
    drawn, named = 0, ""

    def show(done: int, phase: str) -> None:
        nonlocal drawn, named
        if phase != named:
            bar.set_postfix_str(phase, refresh=False)
            named = phase
        bar.update(done - drawn)
        drawn = done

    return show


@contextmanager
def _text(name: str, delay: float, leave: bool) -> Iterator[Show]:
    """A bar of characters on stderr, where tqdm is not installed; none where that is no terminal."""
    file = sys.stderr
    if not file.isatty():
        yield lambda done, phase: None
        return
    next_time, drawn = time.monotonic() + delay, ""

    def show(done: int, phase: str) -> None:
        nonlocal next_time, drawn
        now = time.monotonic()
        if now < next_time and not (drawn and done == TOTAL):
            return
        next_time = now + _PAUSE
        text = f"{name}: {100 * done // TOTAL:3d}%|{'#' * (_WIDTH * done // TOTAL):<{_WIDTH}}| {phase}"
        text = text[: shutil.get_terminal_size().columns - 1]
        file.write("\r" + text.ljust(len(drawn)))
        file.flush()
        drawn = text

    try:
        yield show
    finally:
        if drawn:
            file.write("\n" if leave else "\r" + " " * len(drawn) + "\r")
            file.flush()
