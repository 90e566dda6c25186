"""Weights on the int8 grid, and biases that make up for it."""
