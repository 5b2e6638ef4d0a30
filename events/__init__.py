"""The language of the house: observations, events, rules, the bus contract. Pure, imports nothing above."""
