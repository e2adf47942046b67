"""The zoo: networks trained once and shipped with their snapshots, because a class cannot wait for them."""

from diffgauss.zoo.mine import keep as keep
from diffgauss.zoo.mine import own as own
from diffgauss.zoo.runs import Run as Run
from diffgauss.zoo.runs import computer as computer
from diffgauss.zoo.runs import data as data
from diffgauss.zoo.runs import entries as entries
from diffgauss.zoo.runs import folder as folder
from diffgauss.zoo.runs import held_out as held_out
from diffgauss.zoo.runs import noise as noise
from diffgauss.zoo.runs import run as run
from diffgauss.zoo.shelf import index as index
from diffgauss.zoo.shelf import load as load
from diffgauss.zoo.shelf import losses as losses
from diffgauss.zoo.shelf import record as record
from diffgauss.zoo.shelf import shipped as shipped
from diffgauss.zoo.shelf import untrained as untrained
from diffgauss.zoo.training import score as score
from diffgauss.zoo.training import train as train
from diffgauss.zoo.training import verify as verify
