"""Pools of workers: who computes, where, and what happens when one of them dies."""
