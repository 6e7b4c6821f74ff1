"""A trained model applied to new images: from Python with `load_model`, from the shell with `nnunet-vmunet predict`."""
