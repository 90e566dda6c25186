"""What a device is and the state it is in: one shell script, and the parsing of its answer."""
