"""Camera sources, packets and lazy decoding."""
