"""What smoothing does inside a network: activations, information, targets, distillation, padding."""
