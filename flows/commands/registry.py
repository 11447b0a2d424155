"""Retrain and manage the registry: retrain, rollback, promote, models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsipipe.commands.options import Timeout, check_timeout, show

if TYPE_CHECKING:
    from rich.table import Table

_SHORT = 8
"""Shown digits of a digest."""
Name = Annotated[str | None, typer.Option(help="Registered model; default: the one of params.yaml.")]


def retrain(timeout: Timeout = None) -> None:
    """Ingest new scenes, run stale stages, and promote the model if it is better than the champion.

    New cubes of the data set `folder` wait in inbox.path of params.yaml. Fit cubes are moved to dataset.root and
    versioned with DVC; the others are moved to the subfolder `quarantine`, each with its reason.

    The gate (group gate of params.yaml) compares the new model, alias challenger, with the alias champion on test
    scenes that neither was trained on. A failed or partial run, or uncommitted changes, prevent the promotion.

    HSIPIPE_WEBHOOK_URL holds Apprise URLs that get a notification of the outcome; they are secrets.

    [bold]Examples[/bold]

      hsipipe retrain --timeout 480

      hsipipe serve --retrain --cron "0 2 * * *" --timeout 480
    """
    from flows.prefect_support.environment import prepare, require_server
    from flows.prefect_support.zombie_runs import close_and_tell
    from hsipipe.checkout import find_root
    from hsipipe.exits import hang_up_as_terminate
    from tasks.retraining.new_scenes import check_retraining
    from tasks.retraining.notifications import check_notifications

    check_timeout(timeout)
    hang_up_as_terminate()
    root = find_root()
    check_retraining(root)  # fails before Prefect starts, which takes seconds
    check_notifications()
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.retrain import retrain as run

    typer.echo(run(timeout))


def rollback(
    reason: Annotated[str, typer.Option(help="Reason for the history.")] = "by hand",
    name: Name = None,
    to: Annotated[
        int | None, typer.Option(help="Version to make the champion; default: the previous champion.")
    ] = None,
) -> None:
    """Make the previous champion the champion again.

    The gate does not promote the rolled-back version again. Servers started with models:/NAME@champion change the
    version on SIGHUP, POST /model/refresh or by --follow (hsipipe model-server --help).

    [bold]Examples[/bold]

      hsipipe rollback --reason "stripes over water"

      hsipipe rollback --to 3 --reason "back to the model of spring"
    """
    from hsipipe.checkout import find_root
    from tasks.running.project import own_model_name
    from tasks.tracking import rollback as run

    root = find_root()
    name = name or own_model_name(root)
    move = run(root, name, to=to, reason=reason)
    typer.echo(f"Version {move.version} of {name} is the champion; before it was version {move.previous}.")


def promote(
    version: Annotated[int, typer.Argument(help="Version to make the champion.")],
    reason: Annotated[str, typer.Option(help="Reason for the history.")] = "by hand",
    name: Name = None,
) -> None:
    """Make a version the champion by hand, without the gate; its bytes are still verified.

    [bold]Example[/bold]

      hsipipe promote 4 --reason "approved by the review of 12 May"
    """
    from hsipipe.checkout import find_root
    from tasks.running.project import own_model_name
    from tasks.tracking import promote as run
    from tasks.tracking import standing

    root = find_root()
    name = name or own_model_name(root)
    move = run(root, name, version, expected=standing(root, name), reason=reason, evidence={}, by_hand=True)
    typer.echo(f"Version {move.version} of {name} is the champion; before it was {move.previous or 'none'}.")


def models(
    name: Annotated[str | None, typer.Argument(help="Show versions and history of this model.")] = None,
) -> None:
    """List the registered models, or the versions of one model and the history of its champion.

    [bold]Examples[/bold]

      hsipipe models

      hsipipe models hsipipe-synthetic-x4
    """
    from hsipipe.checkout import find_root

    root = find_root()
    if name is None:
        show(_models_table(root))
        return
    show(_versions_table(root, name))
    show(_history_table(root, name))


def _models_table(root: Path) -> "Table":
    """Return a table of the registered models with champion and challenger."""
    from rich.table import Table

    from tasks.tracking import registered_names, standing

    table = Table("model", "champion", "challenger", "versions")
    for name in registered_names(root):
        now = standing(root, name)
        table.add_row(name, _version(now.champion), _version(now.challenger), str(len(now.versions)))
    return table


def _versions_table(root: Path, name: str) -> "Table":
    """Return a table of the versions of a model, newest first, with the scores on its test scenes."""
    from rich.markup import escape
    from rich.table import Table

    from tasks.tracking import standing

    now = standing(root, name)
    table = Table("v", title=name)
    for title in ("alias", "model", "MPSNR dB", "SAM deg", "protocol", "sha256"):
        table.add_column(title, no_wrap=True)
    for version in sorted(now.versions, reverse=True):
        tags = now.versions[version]
        aliases = [alias for alias, of in (("champion", now.champion), ("challenger", now.challenger)) if of == version]
        aliases += ["withdrawn"] if version in now.withdrawn else []
        scores = [_number(tags.get(key)) for key in ("mpsnr_db", "sam_deg")]
        protocol, sha256 = tags.get("protocol.hash", "")[:_SHORT], now.sha256.get(version, "")[:_SHORT]
        model = escape(tags.get("model", ""))
        table.add_row(str(version), "\n".join(aliases), model, *scores, escape(protocol), sha256)
    return table


def _history_table(root: Path, name: str) -> "Table":
    """Return the history of the champion, newest first."""
    from rich.markup import escape
    from rich.table import Table

    from tasks.tracking import standing

    table = Table("when (UTC)", "what", "from", "to", "why")
    for move in reversed(standing(root, name).moves):
        table.add_row(move.at, move.kind, _version(move.previous), _version(move.version), escape(move.reason))
    return table


def _version(number: int | None) -> str:
    return "-" if number is None else str(number)


def _number(text: str | None) -> str:
    try:
        return f"{float(str(text)):.2f}"
    except ValueError:
        return "-"
