"""What a city is made of and how its work moves: pure values and tables. No I/O, no clock."""
