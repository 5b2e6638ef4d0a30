"""The command `linli`: settings, wiring, doctor."""
