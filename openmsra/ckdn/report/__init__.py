"""What is made of scores: comparisons of methods, contact sheets, quality maps."""
