"""What the notebooks need besides kernels: figures, sliders, exercises, checks."""
