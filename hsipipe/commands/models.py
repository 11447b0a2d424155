"""Use a model: predict, model-server."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hsipipe.commands.options import (
    DetectorOverlap,
    Dtype,
    FullScale,
    MaskChoice,
    ModelPlace,
    OnDoubt,
    OtherWavelengths,
    Tile,
    TileOverlap,
    Variable,
    WindowMemory,
    check_guard,
)

if TYPE_CHECKING:
    from hsipipe.formats.overlap import Overlap
    from hsipipe.formats.products.base import Masks
    from hsipipe.inference.guard import Judgement
    from hsipipe.inference.values_found import ValuesFound


def _show_status(target: Path | None) -> None:
    if target is None:
        return
    from hsipipe.commands.predict_windows import show_status

    show_status(target)
    raise typer.Exit


def predict(
    source: Annotated[str, typer.Argument(metavar="IN", help="LR cube: a file, or the address of a .tif or .zarr.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output: .zarr, .tif, .nc, .npy, .bil, .bip or .bsq.")],
    model: ModelPlace,
    tile: Tile = 64,
    overlap: TileOverlap = 8,
    full_scale: FullScale = 1.0,
    variable: Variable = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=2, help="Draw K possible images; their standard deviation is written to OUT_std.", metavar="K"
        ),
    ] = None,
    quantiles: Annotated[
        str | None,
        typer.Option(help="Quantiles of the samples, to OUT_q05, OUT_q95 for 0.05,0.95.", metavar="P,P"),
    ] = None,
    keep_samples: Annotated[
        bool, typer.Option("--keep-samples", help="Write the samples themselves to OUT_samples (.nc or .zarr).")
    ] = False,
    sharp: Annotated[
        bool,
        typer.Option("--sharp", help="One sharp image with plausible detail, about 1 dB below the prediction."),
    ] = False,
    msi: Annotated[
        Path | None, typer.Option(help="HR-MSI of the same ground, for a fusion model.", metavar="FILE")
    ] = None,
    msi_full_scale: Annotated[float, typer.Option(help="Scale factor of the HR-MSI.", metavar="N")] = 1.0,
    msi_variable: Annotated[str | None, typer.Option(help="Array of the HR-MSI, if its file contains several.")] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Measure a field of shifts between the two images, and remove it.")
    ] = False,
    estimate_sensors: Annotated[
        bool,
        typer.Option(
            "--estimate-sensors", help="Estimate PSF and SRF from the pair instead of using those of the training."
        ),
    ] = False,
    other_wavelengths: OtherWavelengths = False,
    detector_overlap: DetectorOverlap = "keep",
    masks: MaskChoice = "all",
    guard: OnDoubt = "warn",
    memory: WindowMemory = None,
    dtype: Dtype = "float32",
    status: Annotated[
        Path | None,
        typer.Option(
            help="Only show how far the prediction of OUT is.", metavar="OUT", is_eager=True, callback=_show_status
        ),
    ] = None,
) -> None:
    """Super-resolve a whole scene.

    The scene is read, predicted and written in windows, so that --memory suffices for a file of any size. After a kill,
    the same command continues with the missing windows; --status OUT shows how many are done. Methods of a
    whole scene, --estimate-sensors, --guard fallback and --keep-samples hold the whole scene in memory.

    Where DASK_SCHEDULER_ADDRESS is set, the workers of that Dask cluster predict and write the windows. Start one with
    `dask scheduler` and, on each machine, `dask worker ADDRESS:8786`.

    With --samples a posterior such as dmgasr draws K images that are possible. The result stays the prediction. Next to
    high.nc, high_std.nc contains their standard deviation per pixel and band, in the units of the result. --quantiles
    adds the ends of calibrated intervals, --keep-samples the images, for questions of your own.

    With --msi a fusion model combines the bands of IN with the pixels of an HR-MSI of the same extent, and prints the
    consistency of the result with both. For sensors that the model was not trained for, --estimate-sensors estimates
    the PSF and the spectral response from the pair. --register aligns the HR-MSI; `hsipipe pair` shows the shifts.

    Scale, offset and masks of a sensor product are applied; `hsipipe info` shows them. Masked pixels are NaN in the
    result.

    A cube with other bands than the training data needs known wavelengths and a model with gae.standard.window_nm.

    Each result is checked without the truth: does the model beat interpolation on this scene at a coarser resolution,
    and is the added detail plausible? Warnings give the numbers; --guard fallback interpolates what is doubtful.

    [bold]Examples[/bold]

      hsipipe predict low.nc high.nc --model models:/hsipipe-synthetic-x4@challenger

      hsipipe predict low.npy high.npy --model models/superresolver --full-scale 10000

      hsipipe predict low.tif high.tif --model models/superresolver --samples 8 --quantiles 0.05,0.95

      hsipipe predict low.tif high.tif --model models/superresolver --msi msi.tif --msi-full-scale 10000

      hsipipe predict https://data.example/scene.tif high.zarr --model models/superresolver
    """
    from hsipipe.commands.early import check_files, check_model, check_numbers
    from hsipipe.storage.urls import place_of

    probabilities, place = _probabilities(quantiles), place_of(source)
    check_files([place] if msi is None else [place, msi], target)
    check_model(model)
    check_numbers(place, target, dtype, variable=variable, overlap=detector_overlap, masks=masks)
    from hsipipe.commands.predict_file import predict_file
    from hsipipe.commands.sample_file import Samples
    from hsipipe.commands.written import describe_result
    from hsipipe.inference.pair import MsiFile
    from hsipipe.memory import parse_size

    judgements: list[Judgement] = []
    values: list[ValuesFound] = []
    start = time.monotonic()
    result, *others = predict_file(
        place,
        target,
        model=model,
        tile=tile,
        overlap=overlap,
        full_scale=full_scale,
        variable=variable,
        samples=Samples(samples, probabilities, keep_samples),
        sharp=sharp,
        msi=None if msi is None else MsiFile(msi, msi_full_scale, msi_variable),
        registered=register,
        estimate_sensors=estimate_sensors,
        other_wavelengths=other_wavelengths,
        detector_overlap=cast("Overlap", detector_overlap),
        masks=cast("Masks", masks),
        guard=check_guard(guard),
        memory=None if memory is None else parse_size(memory),
        dtype=dtype,
        judged=judgements.append,
        found=values.append,
    )
    typer.echo(describe_result(result, values[0], time.monotonic() - start))
    for text in filter(None, (judgement.comparison() for judgement in judgements)):
        typer.echo(text)
    for path in others:
        typer.echo(f"wrote {path}")


def _probabilities(text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise typer.BadParameter(f"--quantiles must be probabilities such as 0.05,0.95, got {text!r}.") from None


def model_server(
    model: ModelPlace,
    host: Annotated[str, typer.Option(help="Address to bind to; there is no TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free port, which is printed.")] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Name in the address of clients, repeatable; default: IP addresses, the machine's own name."),
    ] = None,
    follow: Annotated[
        float | None, typer.Option(help="Interval of looking for a new version.", metavar="SECONDS")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1.")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Concurrent predictions.")] = 1,
    queue: Annotated[int, typer.Option(min=0, help="Waiting predictions; more are refused with 503.")] = 16,
    max_body: Annotated[int, typer.Option(min=1, help="Largest body in MiB, else 413.")] = 256,
    max_uploads: Annotated[
        int, typer.Option(min=1, help="Largest sum of bodies and answers on the disk, in MiB.")
    ] = 4096,
    max_values: Annotated[
        int, typer.Option(min=1, help="Most values (images x bands x rows x columns) of a prediction, else 413.")
    ] = 1 << 27,
    max_tile: Annotated[int, typer.Option(min=1, help="Largest tile in input pixels, else 413.")] = 256,
    head_timeout: Annotated[float, typer.Option(help="Seconds for the head of a request.")] = 10.0,
    body_timeout: Annotated[float, typer.Option(help="Seconds for the body, else 408.")] = 120.0,
    read_timeout: Annotated[float, typer.Option(help="CPU seconds to read a file, else 400.")] = 30.0,
    predict_timeout: Annotated[float, typer.Option(help="Seconds for waiting and predicting, else 504.")] = 300.0,
    answer_timeout: Annotated[
        float, typer.Option(help="Seconds for a client to take its answer, and one more for each 64 KiB of it.")
    ] = 60.0,
    connections: Annotated[int, typer.Option(min=1, help="Concurrent connections; more are refused.")] = 256,
) -> None:
    """Serve a model over HTTP: POST one LR cube to /predict, get the HR cube in the same form.

    Cubes are .npy, also (B, C, h, w), classic NetCDF or GeoTIFF; a fusion model takes lr and msi as
    multipart/form-data. The query has the options of `hsipipe predict`: tile, overlap, full_scale, variable,
    msi_full_scale, msi_variable, other_wavelengths, guard, and the answers are the same bits. Warnings are in the
    header X-Note, errors are {"error": "..."}.

    An alias is resolved once. SIGHUP, POST /model/refresh or --follow resolve it again: the new version is loaded,
    verified and tried in the background, and what fails leaves the old one in service. /model/refresh wants the
    header Authorization: Bearer $HSIPIPE_SERVER_TOKEN if that variable is set here, and is for this machine if not.

    A request of a web page of another site is refused. So is one with another name in its header Host than localhost,
    127.0.0.1, [::1] or an --allowed-host. On an address that is not loopback, any IP address and this machine's own
    host name are taken if there is no --allowed-host.

    /health reports whether the model predicts, /model its name and version, /metrics the metrics for Prometheus.

    [bold]Examples[/bold]

      hsipipe model-server --model models:/hsipipe-synthetic-x4@champion

      hsipipe model-server --model models/superresolver --port 0 --workers 2

      curl --data-binary @low.npy -o high.npy "http://127.0.0.1:8000/predict?full_scale=10000"
    """
    from hsipipe.commands.early import check_model

    check_model(model)
    from hsipipe.commands.model_server import serve_model
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
        read_s=read_timeout,
        predict_s=predict_timeout,
        answer_s=answer_timeout,
        workers=workers,
        queue=queue,
        connections=connections,
    )
    names = tuple(allowed_host or ())
    serve_model(model, host=host, port=port, limits=limits, allowed_hosts=names, device=device, follow_s=follow)
