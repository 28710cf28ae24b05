"""Evolution search over the sub-networks of a supernet under budgets."""
