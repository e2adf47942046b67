"""The denoisers. Each keeps the one contract D(x, σ) → x̂ and knows nothing of its siblings."""
