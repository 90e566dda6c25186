"""Conversion to an accuracy budget: what is tried, in which order, and what is taken.

budget      what is allowed, and what an interval says about it
candidate   one conversion that was tried, and what it is worth; the record of a search
held_out    the calibration faces that candidates are compared on
ladder      the methods in the order in which they are tried
precision   which single operators go back to float first
latencies   how long candidates take on a device
search      the search itself
state       where it left off, as a file
"""
