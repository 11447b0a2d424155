"""Twelve traps that published code fell into, one test each: docs/protocols.md."""

import json
import pickle
import shutil
import zipfile
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from safetensors import safe_open
from safetensors.torch import load_file
from skimage.metrics import structural_similarity

from hsipipe import load_model, open_cube
from hsipipe.artifacts import DegradedPairs, PatchStore
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.errors import IntegrityError, MissingInputError, ParamsError
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.scoring import score
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.dmgasr.gae import load_gae
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.params import parse_params
from hsipipe.protocols import PROTOCOLS, make_protocol
from hsipipe.storage.manifest import write_manifest
from hsipipe.storage.stores import get_array, open_store, read

SCALE, GUARD, SIZE = 4, 8, 80


@pytest.fixture(scope="module")
def model(methods) -> Dmgasr:
    return methods["dmgasr-latent"]


@dataclass(frozen=True)
class Keeping(Bicubic):
    """Predicts by another method, and keeps what it was given and what it predicted."""

    inner: Any = None
    kept: list[bytes] = field(default_factory=list)

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        prediction = self.inner(lr)
        self.kept.append(np.asarray(lr).tobytes() + np.asarray(prediction).tobytes())
        return prediction


def painted(boxes, *, grown=0):
    """The pixels of a scene that boxes (y0, y1, x0, x1) cover, each grown on all sides."""
    mask = np.zeros((SIZE, SIZE), bool)
    for y0, y1, x0, x1 in boxes:
        mask[max(0, y0 - grown) : y1 + grown, max(0, x0 - grown) : x1 + grown] = True
    return mask


def boxes_of(pairs, part, scene):
    return [entry["region"] for entry in pairs.index()["splits"][part] if entry["scene"] == scene]


def ergas_by_hand(sr, hr, scale):
    relative = [np.mean((a - b) ** 2) / np.mean(b) ** 2 for a, b in zip(sr, hr, strict=True)]
    return 100 / scale * np.sqrt(np.mean(relative))


def recipe(hr, scale):
    """MATLAB's imresize by torch: antialiased, on a symmetrically padded image that is cropped again."""
    pad = np.pad(hr.astype(np.float64), ((0, 0), (3 * scale,) * 2, (3 * scale,) * 2), mode="symmetric")
    low = torch.nn.functional.interpolate(
        torch.from_numpy(pad)[None], scale_factor=1 / scale, mode="bicubic", antialias=True
    )
    return low[0, :, 3:-3, 3:-3].numpy()


def test_trap_01_no_colour_correction_with_the_truth(pairs, protocol, tested, evaluate, tmp_path):
    # A prediction whose only fault is its colours: a correction would make it perfect.
    truth = {pair.name: pair.hr for pair in tested}
    by_input = {pair.lr.tobytes(): pair.hr for pair in tested}

    def tint(lr):
        hr = by_input.get(lr[0].tobytes(), np.repeat(np.repeat(lr[0], SCALE, axis=1), SCALE, axis=2))
        return (hr * np.float32(0.8) + np.float32(0.05))[None]

    scored = evaluate("tinted", Keeping(SCALE, inner=tint), pairs, tmp_path, protocol=protocol)["scenes"]
    for pair in tested:
        expected = truth[pair.name] * np.float32(0.8) + np.float32(0.05)
        values = scored[pair.name]["tinted"]
        assert values["rmse"] == pytest.approx(np.sqrt(np.mean((expected - pair.hr.astype(np.float64)) ** 2)))
        assert values["rmse"] > 0.01
        shown = SceneEvidence.load(tmp_path / f"{pair.name}.npz")
        np.testing.assert_array_equal(shown.spectra[0], expected[:, *shown.pixels.T].T)


def test_trap_02_no_scaling_by_the_truths_minimum_and_maximum(params, raw, pairs):
    for part, entries in pairs.index()["splits"].items():
        for entry in entries:
            y0, y1, x0, x1 = entry["region"]
            stored = pairs.read(part, entry["name"])
            np.testing.assert_array_equal(stored.hr, raw.open(entry["scene"]).values[:, y0:y1, x0:x1])
            assert stored.hr.max() - stored.hr.min() < 0.99
    for name in PROTOCOLS:
        tree = params.model_dump() | {"protocol": name}
        tree["degradation"] = tree["degradation"] | {"normalisation": "region_minmax"}
        if name == "dmgasr":
            parse_params(tree, source="params.yaml")
        else:
            with pytest.raises(ParamsError, match="region_minmax"):
                parse_params(tree, source="params.yaml")
            pins = (setup.pins["degradation.normalisation"] for setup in PROTOCOLS[name].setups.values())
            assert "region_minmax" not in pins


def test_trap_03_ergas_divides_by_the_scale(params, raw, metrics, tested, evaluate, tmp_path):
    for scale in (2, 3, 4, 6):
        sr, hr = tested[0].hr + np.float32(0.02), tested[0].hr
        assert score(sr, hr, scale)["ergas"] == pytest.approx(ergas_by_hand(sr, hr, scale), rel=1e-4)
    at_two = params.degradation.model_copy(update={"scale": 2})
    make_pairs(raw, tmp_path, split=params.split, degradation=at_two)
    plan = DegradedPairs(tmp_path).index()
    protocol = make_protocol(
        "default", dataset=params.dataset, split=params.split, degradation=at_two, plan=plan["splits"], srf=plan["srf"]
    )
    (tmp_path / "out").mkdir()
    half = evaluate("bicubic", Bicubic(2), DegradedPairs(tmp_path), tmp_path / "out", protocol=protocol)
    for tree, scale, of in ((metrics, SCALE, tested[0]), (half, 2, None)):
        pair = of or DegradedPairs(tmp_path).read("test", tested[0].name)
        expected = ergas_by_hand(upsample(pair.lr, scale).clip(0, 1), pair.hr, scale)
        assert tree["scenes"][pair.name]["bicubic"]["ergas"] == pytest.approx(expected, rel=1e-5)


def test_trap_04_cave_has_sixteen_bits_but_for_watercolors(tmp_path, write_scene):
    deep = write_scene(tmp_path / "toys_ms")
    flat = write_scene(tmp_path / "watercolors_ms", eight_bit=True)
    read_deep, read_flat = (open_cube(tmp_path / f"{name}_ms").values for name in ("toys", "watercolors"))
    np.testing.assert_array_equal(read_deep, deep)
    np.testing.assert_array_equal(read_flat, flat)
    assert len(np.unique(read_deep)) > 256 >= len(np.unique(read_flat))
    assert min(read_deep.max(), read_flat.max()) > 0.99


def test_trap_05_the_checkpoint_is_chosen_on_validation(pairs, patches, gae, latents, train, trainings, tmp_path):
    without_test = PatchStore(tmp_path / "patches")
    shutil.copytree(patches.path, without_test.path)
    shutil.rmtree(without_test.path / "test.zarr")
    for name, before in trainings.items():
        again = train(name, without_test, gae, latents)
        for one in before.checkpoint.path.iterdir():
            assert one.read_bytes() == (again.checkpoint.path / one.name).read_bytes(), name
        if not before.summary:
            continue
        headline = next(key for key in before.summary if key.startswith("val_"))
        validated = {step: row[headline] for step, row in before.curve if headline in row}
        assert before.summary[headline] == max(validated.values())
        assert validated[int(before.summary["best_step"])] == max(validated.values())
    assert not (latents.path / "test.zarr").exists()
    for scene in {entry["scene"] for entry in pairs.index()["splits"]["test"]}:
        for one, other in permutations(("train", "val", "test"), 2):
            assert not (
                painted(boxes_of(pairs, one, scene), grown=GUARD) & painted(boxes_of(pairs, other, scene))
            ).any()


def test_trap_06_bicubic_reduction_is_antialiased(tested):
    for pair in tested:
        np.testing.assert_allclose(pair.lr, recipe(pair.hr, SCALE), atol=1e-6)
    hr = np.random.default_rng(0).random((2, 48, 48))
    for scale in (2, 3, 4, 8):
        np.testing.assert_allclose(downsample(hr, scale), recipe(hr, scale), atol=1e-12)
        sharp = torch.nn.functional.interpolate(torch.from_numpy(hr)[None], scale_factor=1 / scale, mode="bicubic")
        assert np.abs(downsample(hr, scale) - sharp[0].numpy()).max() > 0.1


def test_trap_07_latents_are_whitened_and_nothing_is_clamped(gae, latents, model):
    stored = latents.open("train")
    z_hr, z_lr = (torch.from_numpy(values) for values in stored.read(np.arange(len(stored))).values())
    ones = torch.ones(z_hr.shape[1:3])
    torch.testing.assert_close(z_hr.std(dim=(0, 3, 4)), ones, atol=0.01, rtol=0)
    torch.testing.assert_close(z_hr.mean(dim=(0, 3, 4)), 0 * ones, atol=0.01, rtol=0)
    x0 = model.net.clean(z_hr, z_lr, model.gae.residual_std)
    torch.testing.assert_close(x0.std(dim=(0, 3, 4)), ones, atol=0.01, rtol=0)
    assert z_hr.abs().max() > 2
    kept = load_file(gae.path / "model.safetensors")
    for name in ("latent_mean", "latent_std", "residual_std"):
        torch.testing.assert_close(kept[name], getattr(load_gae(gae.path), name))
    assert not torch.allclose(kept["latent_std"], torch.ones(1), atol=0.1)
    for sampler in SAMPLERS:
        handle = model.net.unet.register_forward_hook(lambda module, given, out: torch.full_like(out, 5.0))
        sampling = model.sampling.model_copy(update={"sampler": sampler, "steps": 3})
        torch.testing.assert_close(model.net.sample(z_lr[:1], sampling=sampling), torch.full_like(z_lr[:1], 5.0))
        handle.remove()


def test_trap_08_the_ceilings_stand_beside_every_result(metrics, model):
    k = model.gae.latent_mean.numel()
    ceilings = [name for name, row in metrics["models"].items() if row["kind"] == "ceiling"]
    assert ceilings[:2] == [f"pca-{k}-ceiling", "ae-ceiling"]
    linear, own = (metrics["models"][name]["mpsnr_db"] for name in ceilings[:2])
    (sentence,) = (text for text in metrics["verdicts"] if text.startswith("ae-ceiling is"))
    assert f"pca-{k}-ceiling" in sentence
    assert ("BELOW" in sentence) == (own < linear)


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trap_09_groups_lie_in_the_batch(model, tested, sampler, steps):
    sampling = model.sampling.model_copy(update={"sampler": sampler, "steps": steps})
    several, sizes = Dmgasr(model.gae, model.net, sampling=sampling), []
    handle = model.net.unet.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    several.predict(tested[0].lr[None, :, :4, :4])
    handle.remove()
    assert model.gae.plan.count == 3
    assert sizes == [3] * steps
    assert several.nfe == steps


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_trap_10_checkpoints_hold_no_pickle_and_none_is_loaded(trainings, model, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    model.save(whole)
    folders = [whole, *(folder for made in trainings.values() for folder in (made.checkpoint.path, made.work))]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".safetensors" for path in files) >= len(trainings)  # bicubic has none
    for path in files:
        assert not zipfile.is_zipfile(path), path
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                assert tensors.keys()
        else:
            assert path.suffix == ".json"
            json.loads(path.read_text())
    shutil.copytree(whole, tmp_path / "disguised")
    shutil.copytree(whole, tmp_path / "beside", ignore=shutil.ignore_patterns("*.safetensors"))
    exploded = tmp_path / "exploded"
    (tmp_path / "disguised" / "model.safetensors").write_bytes(pickle.dumps(_Bomb(exploded)))
    for name in ("model.pt", "model.pth", "model.ckpt", "model.pkl", "pytorch_model.bin"):
        torch.save({"weights": _Bomb(exploded)}, tmp_path / "beside" / name)
    for name, error in (("disguised", IntegrityError), ("beside", MissingInputError)):
        write_manifest(tmp_path / name)
        with pytest.raises(error):
            load_model(tmp_path / name)
    assert not exploded.exists()


def test_trap_11_the_metrics_are_the_defined_ones(metrics, tested):
    hr = tested[0].hr.astype(np.float64)
    sr = np.clip(
        hr + np.random.default_rng(0).normal(0, 0.03, hr.shape) * np.linspace(0.2, 2, len(hr))[:, None, None], 0, 1
    )
    hr[:, :3, :3] = 0
    sr[:, 5, 5] = 0
    values = score(sr, hr, SCALE)
    ssim = [structural_similarity(a, b, data_range=1.0) for a, b in zip(sr, hr, strict=True)]
    assert values["mssim"] == pytest.approx(np.mean(ssim), abs=1e-12)
    spectra, truth = (cube.reshape(len(cube), -1) for cube in (sr, hr))
    lit = (np.linalg.norm(spectra, axis=0) > 0) & (np.linalg.norm(truth, axis=0) > 0)
    assert lit.sum() == lit.size - 10
    cosine = (spectra * truth).sum(0)[lit] / np.linalg.norm(spectra, axis=0)[lit] / np.linalg.norm(truth, axis=0)[lit]
    assert values["sam_deg"] == pytest.approx(np.degrees(np.arccos(cosine)).mean(), abs=1e-6)
    assert values["ergas"] == pytest.approx(ergas_by_hand(sr, hr, SCALE))
    mse = ((sr - hr) ** 2).mean(axis=(1, 2))
    assert values["mpsnr_db"] == pytest.approx(-10 * np.log10(mse).mean())
    assert values["cube_psnr_db"] == pytest.approx(-10 * np.log10(mse.mean()))
    assert values["mpsnr_db"] - values["cube_psnr_db"] > 1
    for row in metrics["models"].values():
        assert row["mpsnr_db"] != row["cube_psnr_db"]


def test_trap_12_no_patch_touches_what_is_tested(pairs, patches, metrics):
    seen: dict[str, dict[str, np.ndarray]] = {}
    for part in ("train", "val", "test"):
        group = open_store(patches.path / f"{part}.zarr")
        regions = {entry["name"]: entry for entry in pairs.index()["splits"][part]}
        size = get_array(group, "hr").shape[-1]
        for number, y, x in read(get_array(group, "origin")):
            entry = regions[group.attrs["scenes"][number]]
            top, left = entry["region"][0] + y, entry["region"][2] + x
            mask = seen.setdefault(entry["scene"], {}).setdefault(part, painted([]))
            mask |= painted([(top, top + size, left, left + size)])
    assert len(seen) == 2
    for scene, masks in seen.items():
        assert all(mask.any() for mask in masks.values())
        assert not any((masks[a] & masks[b]).any() for a, b in permutations(masks, 2))
        tested = painted(boxes_of(pairs, "test", scene))
        assert not ((masks["train"] | masks["val"]) & tested).any()
    assert [entry["scene"] for entry in metrics["test_set"]] == pairs.names("test")
    assert [entry["shape"][1:] for entry in metrics["test_set"]] == [[36, 36]] * 2


def test_a_whole_evaluation_predicts_the_same_bits_with_another_truth(pairs, methods, protocol, evaluate, tmp_path):
    changed = DegradedPairs(tmp_path / "pairs")
    shutil.copytree(pairs.path, changed.path)
    for name in changed.names("test"):
        hr = zarr.open_group(changed.path / "test" / f"{name}.zarr", mode="r+")["hr"]
        hr[...] = np.random.default_rng(0).random(hr.shape, dtype=np.float32)
    for name, method in methods.items():
        made = []
        for source in (pairs, changed):
            keeping = Keeping(SCALE, inner=method.predict)
            out = tmp_path / f"{name}{len(made)}"
            out.mkdir()
            evaluate(name, keeping, source, out, protocol=protocol)
            made.append(keeping.kept)
        assert made[0] == made[1], name
        assert len(made[0]) == 3  # a first call, and two scenes


def test_only_ceilings_see_the_truth(methods, tested):
    pair = tested[0]
    other = np.random.default_rng(0).random(pair.hr.shape, dtype=np.float32)
    for name, ceiling in methods["dmgasr-latent"].ceilings().items():
        assert not np.array_equal(ceiling(pair.lr, None, pair.hr), ceiling(pair.lr, None, other)), name
    assert not any(methods[name].ceilings() for name in ("bicubic", "pca-residual"))


def test_the_saved_model_needs_nothing_but_the_observation(methods, model, params, tested, tmp_path):
    model.save(tmp_path)
    write_manifest(tmp_path)
    tiles = {"tile": params.sampling.tile, "overlap": params.sampling.overlap}
    for pair in tested:
        alone = predict_scene(load_model(tmp_path), pair.lr.copy(), **tiles)
        assert alone.tobytes() == predict_scene(methods["dmgasr-latent"], pair.lr, **tiles).tobytes()
