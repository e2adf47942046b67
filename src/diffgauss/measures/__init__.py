"""Numbers that say whom a denoiser resembles, how linear it is and what it draws."""
