"""Installs the runtime on a board."""
