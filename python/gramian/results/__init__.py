"""What every result can do: be looked at, become plain values or a table of pandas, be saved, and say what it is of."""
