"""Damaged files and hostile objects: what comes of them is the right value or one clean exception, never anything else.

`kinds.py` says what is damaged and what is right, `mutations.py` how bytes and archives are damaged, `worker.py` tries
inputs in a process of its own, `batches.py` starts such processes and sees them crash or hang. An input is a kind, a
seed and a number, so each can be tried again:

    python tests/fuzz/worker.py npz --seed 0 --first 1234

`python tests/fuzz/full.py` is the long run, which writes `full.txt`.
"""
