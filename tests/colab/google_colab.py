"""Stands for google.colab, so that code which asks whether it runs in Colab, as jax does, is told yes."""

from types import SimpleNamespace

output = SimpleNamespace()  # jax's debugger imports it where google.colab is; nothing is called
