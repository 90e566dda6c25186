"""A small real sample of labelled faces, for calibration and for evaluation."""
