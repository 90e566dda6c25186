"""Files of Keras and of PyTorch, read without executing anything in them."""
