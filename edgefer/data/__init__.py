"""Labelled faces: labels by name, dataset readers, and the way from an image to an input."""
