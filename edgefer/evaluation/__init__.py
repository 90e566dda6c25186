"""Accuracy of models on labelled faces, and what one lost against another."""
