"""A converted model as an app needs it: a folder with the model, its contract, proof and code."""
