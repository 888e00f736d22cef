"""Numbers: how alike two representations are."""
