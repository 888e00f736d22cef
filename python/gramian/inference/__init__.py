"""How sure: p-values, and what chance alone gives."""
