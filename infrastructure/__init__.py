"""Everything of a stage that `chalice deploy` does not make: applied, checked, filled and removed."""
