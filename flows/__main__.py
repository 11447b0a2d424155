"""The command line ``hsipipe`` with the commands of the pipeline, the same as ``python -m flows``."""

import sys

from flows.commands import pipeline, registry, tables
from hsipipe.commands.app import make_app, run

app = make_app(
    {
        "pipeline": pipeline.pipeline,
        "sweep": pipeline.sweep,
        "tables": tables.tables,
        "serve": pipeline.serve,
        "reconcile": pipeline.reconcile,
        "retrain": registry.retrain,
        "models": registry.models,
        "rollback": registry.rollback,
        "promote": registry.promote,
    }
)

if __name__ == "__main__":
    sys.exit(run(app))
