"""Checks for ``helm test`` that the API server serves the kinds and that the store can be used."""

from __future__ import annotations

import os
import sys

from tunecast_core.errors import TunecastError
from tunecast_core.store.bucket import Store
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, STARTUP_CACHE, ClusterError, connect
from tunecast_operator.runtime.installation import from_environment
from tunecast_operator.runtime.watching import missing_kinds


def main() -> int:
    """Prints one line for each check. Returns 1 if one fails."""
    try:
        installation = from_environment(os.environ)
        cluster = connect(workers=1)
        namespace = (installation.watch_namespaces or (installation.namespace,))[0]
        if missing := missing_kinds(cluster):
            raise ClusterError(f"the CustomResourceDefinitions {', '.join(missing)} are missing: set crds.enabled")
        for kind in (INFERENCE_DEPLOYMENT, STARTUP_CACHE):
            found = cluster.list(kind, namespace)
            sys.stdout.write(f"ok: {kind.plural} are served, {len(found)} in namespace {namespace}\n")
        Store(installation.store).check()
        sys.stdout.write(f"ok: bucket {installation.store.bucket} supports all operations that Tunecast needs\n")
    except TunecastError as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
