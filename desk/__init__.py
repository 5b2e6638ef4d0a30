"""The desk: what people and timers do with the city's store, each change an event in the journal."""
