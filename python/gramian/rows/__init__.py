"""What comes in: the gate for arrays, files as arrays, heads on blocks of rows."""
