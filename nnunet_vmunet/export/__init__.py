"""A trained model for programs without torch and nnU-Net."""
