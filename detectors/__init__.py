"""Models, inference and tracking."""
