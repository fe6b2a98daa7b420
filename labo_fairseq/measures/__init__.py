"""What follows from sums and pairs: calibration errors, intervals, risk and coverage, significance. numpy and scipy."""
