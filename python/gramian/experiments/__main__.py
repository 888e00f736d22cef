"""`python -m gramian.experiments`: run one experiment or several by their names."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from gramian.experiments import EXPERIMENTS, module, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gramian.experiments",
        description="Claims about representation alignment, tried on real data; each experiment takes minutes.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; --list names them")
    parser.add_argument("--list", action="store_true", help="name the experiments and the claim of each")
    parser.add_argument(
        "--out", type=Path, default=Path("gramian-experiments"), metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument(
        "--representations", type=Path, metavar="FOLDER", help="of examples/encoders, for what needs real encoders"
    )
    parser.add_argument("--quick", action="store_true", help="fewer seeds, epochs and draws: a trial run in seconds")
    given = parser.parse_args(arguments)
    if given.list:
        for name in EXPERIMENTS:
            print(f"{name}\n{textwrap.indent(textwrap.fill(module(name).CLAIM, 96), '    ')}")
        return 0
    if not given.names:
        parser.error("name an experiment; --list shows them")
    for name in given.names:
        if name not in EXPERIMENTS:
            parser.error(f"no experiment is called {name!r}; there are {', '.join(EXPERIMENTS)}")
    for name in given.names:
        try:
            record = run(name, given.out, quick=given.quick, representations=given.representations)
        except (ImportError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(record.text(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
