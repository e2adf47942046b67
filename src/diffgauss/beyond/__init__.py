"""Closed forms beyond D_M and D_G, and the theory of finite samples."""
