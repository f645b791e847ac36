"""Transforms, slices and insertion, filters, masks and Fourier shell correlation."""
