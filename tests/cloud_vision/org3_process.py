"""Organisation 3 as a process of its own: serves its side until its standard input closes, then keeps its weights.

Run by tests: ``python org3_process.py WEIGHTS RECORDS SEED``, the token in ORG3_TOKEN; prints its address.
"""

import os
import sys

import torch

from mm_assets.cloud_vision.psi import PsiAnswer
from mm_assets.cloud_vision.split_model import build_org3
from mm_assets.cloud_vision.split_training import Org3Party
from mm_assets.cloud_vision.wire import routed
from mm_assets.cloud_vision.wire_http import served
from tests.cloud_vision.split_data import CONFIG, two_parties


def main():
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    weights, records, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    party = Org3Party(build_org3(CONFIG, seed), two_parties(records)[1])
    answer = PsiAnswer([f"img_{i:05d}" for i in range(records)])
    with served(routed({"train": party.handle, "psi": answer.handle}), os.environ["ORG3_TOKEN"]) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
    save_file(party.bottom.state_dict(), weights)


if __name__ == "__main__":
    main()
