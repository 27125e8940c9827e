"""Tests of the corpus; standard library only."""
