"""Devices: the one seam to the outside. `target` has the protocol, a module each the ways."""
