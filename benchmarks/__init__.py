"""Latency and memory of models on devices."""
