"""Weights that edgefer trained, one safetensors file a network."""
