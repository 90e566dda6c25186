"""Facial-expression networks, quantized, measured and shipped to phones and boards."""

__version__ = "0.1.0"
