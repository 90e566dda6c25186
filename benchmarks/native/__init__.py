"""LiteRT's own benchmark_model: getting it, running it, reading what it prints."""
