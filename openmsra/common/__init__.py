"""Bricks that at least two papers use. Knows neither engine nor papers."""
