"""`nnunet-vmunet report`: one HTML file about a trained fold, with everything inside it."""
