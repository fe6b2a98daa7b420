"""Fitting a calibrator to a trained model, and the file that holds it."""
