"""Images to train and measure on: where they come from and how they are read."""

from diffgauss.data.images import (
    CIFAR10 as CIFAR10,
    CLASSES as CLASSES,
    Images as Images,
    disjoint_halves as disjoint_halves,
    folder as folder,
    labels as labels,
    load as load,
    pixels_of as pixels_of,
    scaled as scaled,
    subset as subset,
)
from diffgauss.data.splits import Report as Report
