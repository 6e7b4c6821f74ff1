"""`nnunet-vmunet app`: a page in the browser that segments what is dropped on it."""
