"""Images to train and measure on: where they come from and how they are read."""

from diffgauss.data.images import CIFAR10 as CIFAR10
from diffgauss.data.images import CLASSES as CLASSES
from diffgauss.data.images import Images as Images
from diffgauss.data.images import disjoint_halves as disjoint_halves
from diffgauss.data.images import folder as folder
from diffgauss.data.images import labels as labels
from diffgauss.data.images import load as load
from diffgauss.data.images import subset as subset
from diffgauss.data.splits import Report as Report
