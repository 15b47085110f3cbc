"""Files in, state dict out."""
