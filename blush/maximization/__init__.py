"""From summed images to maps, spectra and the parameters of the image model."""
