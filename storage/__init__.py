"""Journal, footage segments, objects, store and projections."""
