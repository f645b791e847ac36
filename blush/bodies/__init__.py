"""Bodies that move, after a refinement: `BodyMotions` is written by `write_motions` and read by `read_motions`.

`mask_extent` measures what the record holds of a body's mask, `prior_covariance` what it holds of its prior.
"""
