"""What the paper does not have: one-stage detectors, masks, score thresholds by class."""
