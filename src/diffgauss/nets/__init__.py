"""Raw networks F(x, c_noise) and what they are made of."""
