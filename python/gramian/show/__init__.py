"""Pictures and tables of plain values."""
