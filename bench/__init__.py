"""python -m bench: is the answer right, how fast, in how much memory, beside what people would write instead."""
