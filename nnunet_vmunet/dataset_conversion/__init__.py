"""Public releases and loose photographs in, nnU-Net raw datasets out: one file per kind of source."""
