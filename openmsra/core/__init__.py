"""What at least two papers use. The core imports no paper."""
