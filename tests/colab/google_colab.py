"""Stands for google.colab, so that code which asks whether it runs in Colab (jax does) is told yes; it does nothing."""

from types import SimpleNamespace

output = SimpleNamespace()  # imported by jax's debugger wherever google.colab is
