"""Channels made alike where they share a scale, before anything is rounded."""
