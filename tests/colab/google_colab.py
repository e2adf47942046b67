"""Stands for google.colab, so that code which asks whether it runs in Colab is told yes; it does nothing."""
