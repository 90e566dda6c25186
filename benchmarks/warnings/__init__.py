"""What a reader must know before believing a figure; a module a kind of cause."""
