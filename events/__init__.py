"""The language of the house: observations, events, rules and the bus contract. Pure, imports nothing above."""
