"""Where quantization hurts: float and int8 side by side, and each operator alone."""
