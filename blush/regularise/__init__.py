"""Regularisers: from two unregularised half-maps to the two references of the next alignment."""
