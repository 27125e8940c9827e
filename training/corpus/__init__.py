"""The training text of lede-nano: written here, drawn from a seed, standard library only."""

from .build import Example, example, examples

__all__ = ["Example", "example", "examples"]
