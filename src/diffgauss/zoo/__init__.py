"""The zoo: networks trained once and shipped with their snapshots, because a class cannot wait for them."""

from diffgauss.zoo.collection import (
    index as index,
    load as load,
    losses as losses,
    record as record,
    shipped as shipped,
    untrained as untrained,
)
from diffgauss.zoo.mine import keep as keep, own as own
from diffgauss.zoo.resumable import score as score, train as train, verify as verify
from diffgauss.zoo.runs import (
    Run as Run,
    computer as computer,
    data as data,
    entries as entries,
    folder as folder,
    held_out as held_out,
    noise as noise,
    run as run,
)
