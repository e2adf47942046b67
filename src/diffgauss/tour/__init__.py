"""The whole analysis of a user's images, in one page."""

from diffgauss.tour.run import run as run
