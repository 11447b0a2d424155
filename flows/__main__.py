"""The command line ``hsipipe``, the same as ``python -m flows``."""

import math
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import operations
from flows.operations import check_timeout
from tasks.exits import guarded

app = typer.Typer(
    name="hsipipe",
    help="Hyperspectral image super-resolution: run the pipeline, use its models, look at cubes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Override = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        "--set-param",
        metavar="GROUP.KEY=VALUE",
        help="Another parameter, written into params.yaml; can be repeated.",
    ),
]


@app.command()
def pipeline(
    set_param: Override = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration; -S goes on top of it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which the run is ended.")] = None,
) -> None:
    """Run every stage that is stale, as a Prefect flow.

    [bold]Examples[/bold]

      hsipipe pipeline

      hsipipe pipeline -S degradation.scale=2 -S sampling.steps=2

      hsipipe pipeline --preset dmgasr-paper --timeout 600
    """
    from flows.environment import prepare, require_server
    from flows.flow_runs import close_and_tell
    from tasks.ledger import changed_params
    from tasks.project import find_root

    check_timeout(timeout)
    root = find_root()
    overrides = [*(_preset(preset) if preset else []), *(set_param or [])]
    changed_params(root, overrides)  # a wrong key should not cost the start of Prefect
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.pipeline import pipeline as run

    run(overrides, timeout)


@app.command()
def sweep(
    name: Annotated[str | None, typer.Argument(help="A sweep, or a .yaml file with one; left out: list them.")] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option("-S", "--set-param", metavar="GROUP.KEY=VALUE", help="Another parameter of all points."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration; -S goes on top of it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which the sweep is ended.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop at the first point that fails.")] = False,
) -> None:
    """Run the pipeline at several points, one after another, and compare them in one table and one figure.

    Each point is a `dvc exp run` in this checkout, which nothing else may use meanwhile; `dvc exp show` lists them.
    What a point shares with an earlier run comes out of DVC's cache. Started again after an interruption, finished
    points are skipped. A failing point is told and the others go on; the exit code is then 1.

    Afterwards params.yaml, dvc.lock, outputs and uncommitted changes are what they were before, after a kill at the
    next start of this command, of `hsipipe pipeline` or `make repro`. Models of points do not go into the registry.
    Table and figure are in reports/sweeps/NAME.

    [bold]Examples[/bold]

      hsipipe sweep ablations

      hsipipe sweep steps -S dataset.name=cave -S dataset.root=/data/cave

      hsipipe sweep groups --preset dmgasr-paper --timeout 600
    """
    from flows.environment import prepare, require_server
    from flows.flow_runs import close_and_tell
    from flows.sweep_listing import sweep_table
    from tasks.project import find_root
    from tasks.session import pipeline_session
    from tasks.sweeps import plan_sweep, refuse_swept, shown

    if name is None:
        _print(sweep_table())
        return
    check_timeout(timeout)
    root = find_root()
    overrides = [*(_preset(preset) if preset else []), *(set_param or [])]
    refuse_swept(name, set_param or [])
    with pipeline_session(root):  # puts right what a killed sweep has left, before Prefect is started in vain
        plan = plan_sweep(root, name, overrides)
    prepare(root)
    require_server()
    close_and_tell(root)
    from flows.sweep import sweep as run

    try:
        run(name, overrides, timeout, stop)
    finally:
        if (table := shown(plan)) is not None:
            _print(table)
            if (plan.out / "table.md").is_file():
                typer.echo(f"table and figure: {plan.out}")


app.command()(operations.retrain)
app.command()(operations.rollback)
app.command()(operations.promote)
app.command()(operations.models)


@app.command()
def serve(
    interval: Annotated[float | None, typer.Option(help="Seconds between two runs.")] = None,
    cron: Annotated[str | None, typer.Option(help="When to run, as five cron fields.")] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="With inbox, gate and promotion.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Minutes after which a run is ended.")] = None,
) -> None:
    """Run the pipeline on a schedule, until interrupted; with --retrain promote what it makes if it is better.

    Every night at 2:00 unless an option says otherwise. A run that falls due while another is going on is skipped.

    The Prefect server is that of PREFECT_API_URL, or one that is started on this machine.

    [bold]Examples[/bold]

      hsipipe serve --cron "0 2 * * *"

      hsipipe serve --interval 3600

      hsipipe serve --retrain --timeout 480
    """
    check_timeout(timeout)
    if interval is not None and cron is not None:
        raise typer.BadParameter("Give --interval or --cron, not both.")
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        raise typer.BadParameter(f"--interval must be a positive number of seconds, got {interval}.")
    from flows.environment import prepare, require_server
    from flows.flow_runs import close_and_tell
    from flows.serving import check_cron, server
    from flows.serving import serve as run
    from hsipipe.credentials import without_credentials
    from tasks.project import find_root

    root = find_root()
    prepare(root)
    require_server()
    schedule = cron or (None if interval else "0 2 * * *")
    check_cron(schedule)
    with server(root) as api:
        os.environ["PREFECT_API_URL"] = api
        typer.echo(f"Prefect server: {without_credentials(api)}")
        close_and_tell(root)
        run("retrain" if retrain else "pipeline", interval_s=interval, cron=schedule, timeout_minutes=timeout)


@app.command()
def reconcile() -> None:
    """Close what killed processes have left open: runs in Prefect, with the slots that they hold, and in MLflow.

    Only runs of this machine whose process is gone; the next pipeline, sweep or serve does the same by itself. A run
    whose Prefect server does not answer stays for later, and the exit code is then 1.

    [bold]Example[/bold]

      hsipipe reconcile
    """
    from flows.environment import prepare
    from flows.reconciling import reconcile_all
    from tasks.project import find_root

    root = find_root()
    prepare(root)
    reconcile_all(root, say=typer.echo)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="Show all that is known of this one.")] = None,
) -> None:
    """List the data sets that dataset.name may say.

    [bold]Example[/bold]

      hsipipe datasets chikusei
    """
    from flows.listing import dataset_details, dataset_table

    _print(dataset_table() if name is None else dataset_details(name))


@app.command()
def download(name: Annotated[str, typer.Argument(help="A name that `hsipipe datasets` lists.")]) -> None:
    """Bring a data set into the cache, checked and unpacked; a broken download is continued.

    HSIPIPE_CACHE says where the cache is; HSIPIPE_MIRROR is an address or a folder that is asked first.
    With HSIPIPE_OFFLINE=1 the network is never used.

    [bold]Example[/bold]

      hsipipe download pavia_university
    """
    from flows.listing import download_dataset

    typer.echo(download_dataset(name))


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A cube: a file, or a folder of PNG bands.")],
    variable: Annotated[str | None, typer.Option(help="Array to look at, if the file holds several.")] = None,
) -> None:
    """Show what a cube is: shape, wavelengths, values.

    [bold]Example[/bold]

      hsipipe info data/raw/balloons_ms
    """
    from flows.cube_info import cube_table

    _print(cube_table(file, variable=variable))


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The low-resolution cube.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where the result goes: .npy, .nc, .tif or .zarr.")],
    model: Annotated[str, typer.Option(help="models:/<name>@<alias>, models:/<name>/<version> or a folder.")],
    tile: Annotated[int, typer.Option(min=1, help="Edge of a tile in input pixels.")] = 64,
    overlap: Annotated[int, typer.Option(min=0, help="Input pixels of context around a tile.")] = 8,
    full_scale: Annotated[
        float, typer.Option(help="Value of the input that means 1.0, e.g. 65535; the result has it too.")
    ] = 1.0,
    variable: Annotated[str | None, typer.Option(help="Array to read, if the file holds several.")] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Mean of K samples; from 2 on their standard deviation goes to OUT_std.", metavar="K"),
    ] = None,
    msi: Annotated[
        Path | None, typer.Option(help="HR-MSI of the same ground, for a model that fuses.", metavar="FILE")
    ] = None,
    msi_full_scale: Annotated[float, typer.Option(help="Value of the HR-MSI that means 1.0.", metavar="N")] = 1.0,
    msi_variable: Annotated[str | None, typer.Option(help="Array of the HR-MSI, if its file holds several.")] = None,
    estimate_sensors: Annotated[
        bool, typer.Option("--estimate-sensors", help="Take PSF and SRF from the pair, not from the training.")
    ] = False,
) -> None:
    """Super-resolve a whole scene.

    With --samples the result is the mean of K samples from independent noise, and high_std.nc beside high.nc holds
    their standard deviation for each pixel and band, in the units of the result: the uncertainty of the prediction.

    With --msi a fusion model puts the bands of IN on the pixels of an HR-MSI, whose edges must be those of IN; a note
    then says how well the result agrees with both. Where the two sensors are not those that the model was trained
    for, --estimate-sensors finds the PSF and the spectral response from the pair itself.

    A cube of other bands than the model was trained on needs known wavelengths and a model with gae.window_nm.

    [bold]Examples[/bold]

      hsipipe predict low.nc high.nc --model models:/hsipipe-synthetic-x4@challenger

      hsipipe predict low.npy high.npy --model models/superresolver --full-scale 10000

      hsipipe predict low.tif high.tif --model models/superresolver --samples 8

      hsipipe predict low.tif high.tif --model models/superresolver --msi msi.tif --msi-full-scale 10000
    """
    from flows.prediction import predict_file
    from hsipipe.inference.pair import MsiFile

    written = predict_file(
        source,
        target,
        model=model,
        tile=tile,
        overlap=overlap,
        full_scale=full_scale,
        variable=variable,
        samples=samples,
        msi=None if msi is None else MsiFile(msi, msi_full_scale, msi_variable),
        estimate_sensors=estimate_sensors,
    )
    for path in written:
        typer.echo(f"wrote {path}")


@app.command("model-server")
def model_server(
    model: Annotated[str, typer.Option(help="models:/<name>@<alias>, models:/<name>/<version> or a folder.")],
    host: Annotated[str, typer.Option(help="Address to bind to; there is no TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one, which is printed.")] = 8000,
    follow: Annotated[
        float | None, typer.Option(help="Look for another version every so many seconds.", metavar="SECONDS")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1.")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Predictions at a time.")] = 1,
    queue: Annotated[int, typer.Option(min=0, help="Predictions that may wait; one more is refused with 503.")] = 16,
    max_body: Annotated[int, typer.Option(min=1, help="Largest body in MiB, else 413.")] = 256,
    max_uploads: Annotated[int, typer.Option(min=1, help="Largest sum of the bodies on the disk, in MiB.")] = 4096,
    max_values: Annotated[
        int, typer.Option(min=1, help="Most values (images x bands x rows x columns) of a prediction, else 413.")
    ] = 1 << 27,
    max_tile: Annotated[int, typer.Option(min=1, help="Largest tile in input pixels, else 413.")] = 256,
    head_timeout: Annotated[float, typer.Option(help="Seconds for the head of a request.")] = 10.0,
    body_timeout: Annotated[float, typer.Option(help="Seconds for the body, else 408.")] = 120.0,
    predict_timeout: Annotated[float, typer.Option(help="Seconds for waiting and predicting, else 504.")] = 300.0,
    connections: Annotated[int, typer.Option(min=1, help="Connections at a time; one more is refused.")] = 256,
) -> None:
    """Serve a model over HTTP: POST one LR cube to /predict, get the HR cube in the same form.

    Cubes are .npy, also (B, C, h, w), zipped Zarr stores or GeoTIFF; a fusion model takes lr and msi as
    multipart/form-data. The query has the options of `hsipipe predict`: tile, overlap, full_scale, variable,
    msi_full_scale, msi_variable, and the answers are the same bits. Errors are {"error": "..."}.

    An alias is resolved once. SIGHUP, POST /model/refresh or --follow resolve it again: the new version is loaded,
    verified and tried in the background, and what fails leaves the old one in service. /model/refresh wants the
    header Authorization: Bearer $HSIPIPE_SERVER_TOKEN if that variable is set here, and is for this machine if not.

    /health says whether the model predicts, /model which it is, /metrics what Prometheus wants to know.

    [bold]Examples[/bold]

      hsipipe model-server --model models:/hsipipe-synthetic-x4@champion

      hsipipe model-server --model models/superresolver --port 0 --workers 2

      curl --data-binary @low.npy -o high.npy "http://127.0.0.1:8000/predict?full_scale=10000"
    """
    from flows.model_server import serve_model
    from hsipipe.serving.limits import Limits

    if follow is not None and not (math.isfinite(follow) and follow > 0):
        raise typer.BadParameter(f"--follow must be a positive number of seconds, got {follow}.")
    limits = Limits(
        body_bytes=max_body << 20,
        upload_bytes=max_uploads << 20,
        values=max_values,
        tile=max_tile,
        head_s=head_timeout,
        body_s=body_timeout,
        predict_s=predict_timeout,
        workers=workers,
        queue=queue,
        connections=connections,
    )
    serve_model(model, host=host, port=port, limits=limits, device=device, follow_s=follow)


@app.command()
def preset(name: Annotated[str, typer.Argument(help="For example dmgasr-paper.")]) -> None:
    """Print a named configuration as options for `dvc exp run`.

    [bold]Example[/bold]

      dvc exp run $(hsipipe preset dmgasr-paper)
    """
    typer.echo(" ".join(f"-S {override}" for override in _preset(name)))


@app.command()
def protocol(
    name: Annotated[str | None, typer.Argument(help="For example sspsr; left out: list them.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Where it is defined on several.")] = None,
    scale: Annotated[int | None, typer.Option(help="Ratio of the pixel sizes.")] = None,
) -> None:
    """List the protocols, or print what one fixes as options for `dvc exp run`.

    [bold]Example[/bold]

      dvc exp run $(hsipipe protocol sspsr --dataset chikusei --scale 4)
    """
    from flows.protocol_listing import protocol_overrides, protocol_table

    if name is None:
        _print(protocol_table())
        return
    overrides = protocol_overrides(name, dataset=dataset, scale=scale)
    typer.echo(" ".join(f"-S {override}" for override in overrides))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A metrics.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
) -> None:
    """Show two results side by side; results of different protocols are refused.

    [bold]Example[/bold]

      hsipipe compare last-week.json reports/metrics.json
    """
    from flows.comparing import comparison_table

    _print(comparison_table(first, second))


def _preset(name: str) -> list[str]:
    from hsipipe.models.presets import load_preset
    from tasks.overrides import as_overrides

    return as_overrides(load_preset(name))


def _print(renderable: object) -> None:
    from rich.console import Console

    Console().print(renderable)


def main() -> None:
    """Entry point of ``hsipipe``."""
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
