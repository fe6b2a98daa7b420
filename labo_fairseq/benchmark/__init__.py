"""Time and memory of losses, of training steps and of decoding."""
