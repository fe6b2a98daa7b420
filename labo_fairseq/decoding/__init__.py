"""The calibrated beam search and its tasks."""
