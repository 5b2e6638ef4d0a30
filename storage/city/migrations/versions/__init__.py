"""One file for each form of the city's tables."""
