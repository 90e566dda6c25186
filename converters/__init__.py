"""From a trained network to a .tflite: float conversion, quantization, metadata, verification."""
