"""What runs inside Lambda, as plain functions that know no Chalice."""
