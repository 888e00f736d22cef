"""`python -m gramian`: the command line, also under launchers such as torchrun."""

from gramian.cli import main

main()
