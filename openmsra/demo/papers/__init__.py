"""One file a paper. Each has ``EXHIBIT``, what the page says about the paper, and ``show(stage)``, which runs and measures."""
