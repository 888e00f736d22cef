"""Maps from one model's features to another's, their risks and reports."""
