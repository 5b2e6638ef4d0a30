"""The frame loop and what runs it: worker, supervisor, projector, replay."""
