"""Types of flags that are numbers, for argparse."""

import argparse

MOST = (1 << 31) - 1  # what does not fit 32 bits is a slip of the finger, and would end in an error of numpy or torch


def count(text):
    """A whole number from 1 to 2³¹ − 1."""
    number = int(text)
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text:.20} is out of range: give a whole number from 1 to {MOST}")
    return number


def seed(text):
    """A whole number from 0 to 2³¹ − 1: numpy takes no other seed."""
    number = int(text)
    if not 0 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text:.20} is out of range: give a whole number from 0 to {MOST}")
    return number
