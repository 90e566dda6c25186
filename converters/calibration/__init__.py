"""What faces show of a float model: statistics, and the ranges that follow from them."""
