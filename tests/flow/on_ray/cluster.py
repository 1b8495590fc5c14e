"""A Ray cluster of several nodes on this machine, told what to do line by line; run as a script by the tests.

In: ``add NAME CPUS GPUS``, ``remove NAME``, ``stop``. Out: a JSON line for each, when it is done; first the address.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ray.cluster_utils import Cluster

SMALL: dict[str, Any] = {
    "include_dashboard": False, "include_log_monitor": False, "no_monitor": True, "object_store_memory": 80 * 2**20
}  # fmt: skip


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints

    def say(**facts: Any) -> None:
        print(json.dumps(facts), file=out, flush=True)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, **SMALL})
    nodes: dict[str, Any] = {}
    say(address=cluster.address)
    for line in sys.stdin:
        match line.split():
            case ["add", name, cpus, gpus]:
                os.environ["TEST_NODE"] = name  # its workers inherit it
                resources = {name: 100.0}
                nodes[name] = cluster.add_node(
                    num_cpus=int(cpus), num_gpus=int(gpus), resources=resources, wait=False, **SMALL
                )
            case ["wait"]:
                cluster.wait_for_nodes()
            case ["remove", "head"]:
                cluster.remove_node(cluster.head_node, allow_graceful=False)
            case ["remove", name]:
                cluster.remove_node(nodes.pop(name), allow_graceful=False)
            case ["stop"]:
                break
        say(done=line.strip())
    cluster.shutdown()
    say(done="stop")


if __name__ == "__main__":
    main()
