"""How a run lives: from the command line to the last checkpoint. Knows no paper."""
