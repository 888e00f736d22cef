"""Spectra of kernel matrices that are never stored, and what follows from them."""
