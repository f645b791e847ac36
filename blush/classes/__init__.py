"""Whether classes are real: images are divided at given poses in memory, half against half."""
