"""The documents, and what makes the reference pages from the code."""
