import pytest

from hsipipe.evaluation.headline import headline


def tree(rows, *, trained=(), faults=None, scenes=2):
    """A result table of rows with (MPSNR, SAM), the same on every scene."""
    models = {name: {"kind": "method", "mpsnr_db": psnr, "sam_deg": sam} for name, (psnr, sam) in rows.items()}
    models["ae-ceiling"] = {"kind": "ceiling", "mpsnr_db": 60.0, "sam_deg": 0.1}
    values = {f"s{number}": models for number in range(scenes)}
    return {
        "baseline": next(iter(rows)),
        "models": models,
        "scenes": values,
        "trained": trained,
        "faults": faults or {},
    }


def test_the_best_method_stands_against_the_best_row_without_training():
    rows = {"bicubic": (30.0, 4.0), "sfim": (31.0, 3.5), "edsr": (33.5, 3.0), "mcnet": (32.0, 3.1)}
    found = headline(tree(rows, trained=["edsr", "mcnet"]))
    assert (found.ok, found.best) == (True, "edsr")
    assert found.text == (
        "edsr has the highest MPSNR: 33.50 dB, the mean over 2 test scenes. It is 2.50 dB above sfim, the best row "
        "without training; its SAM is 0.50° lower (3.00° against 3.50°). It is above sfim on 2 of 2 test scenes."
    )


@pytest.mark.parametrize(
    ("rows", "trained", "ok", "text"),
    [
        ({"bicubic": (30.0, 4.0), "edsr": (29.0, 3.0)}, ["edsr"], False, "No trained method is the best. bicubic"),
        ({"bicubic": (30.0, 4.0), "edsr": (29.0, 3.0)}, ["edsr"], False, "above edsr, the best trained row"),
        (
            {"bicubic": (30.0, 4.0), "edsr": (31.0, 5.0)},
            ["edsr"],
            False,
            "1.00° HIGHER (5.00° against 4.00°)",
        ),
        ({"bicubic": (30.0, 4.0), "sfim": (31.0, 3.0)}, [], True, "above bicubic, the next best row"),
        ({"edsr": (30.0, 4.0), "mcnet": (31.0, 3.0)}, ["edsr", "mcnet"], True, "above edsr, the first row"),
        ({"bicubic": (30.0, 4.0)}, [], False, "There is no other row to compare it with."),
        ({"bicubic": (None, None)}, [], False, "No row has a finite MPSNR on the 2 test scenes."),
        ({"bicubic": (30.0, None), "edsr": (30.004, 4.0)}, ["edsr"], True, "0.004 dB above bicubic"),
    ],
)
def test_the_answer_is_honest(rows, trained, ok, text):
    found = headline(tree(rows, trained=trained))
    assert found.ok is ok
    assert text in found.text


def test_a_row_whose_training_was_not_completed_is_not_the_best():
    rows = {"bicubic": (30.0, 4.0), "edsr": (33.0, 3.0), "mcnet": (31.0, 3.5)}
    assert headline(tree(rows, trained=["edsr", "mcnet"], faults={"edsr": "collapsed"})).best == "mcnet"
    assert "1 of 1 test scene." in headline(tree(rows, trained=["edsr", "mcnet"], scenes=1)).text


def test_a_pair_is_compared_with_a_pair_and_what_else_it_sees_is_said():
    rows = {"bicubic": (30.0, 4.0), "gsa": (33.0, 3.0), "edsr": (34.0, 3.0), "fusion-fast": (40.0, 2.0)}
    table = tree(rows, trained=["edsr", "fusion-fast"])
    assert "7.00 dB above gsa" in headline({**table, "fuses": ["gsa", "fusion-fast"]}).text
    assert "It (which also sees the HR-MSI) is 7.00 dB above gsa" in headline({**table, "fuses": ["fusion-fast"]}).text
    assert "equal to sfim" in headline(tree({"bicubic": (30.0, 4.0), "sfim": (30.0, 4.0)})).text


def test_a_perfect_row_is_the_best():
    found = headline(tree({"bicubic": (30.0, 4.0), "edsr": (None, 0.0)}, trained=["edsr"]))
    assert (found.ok, found.best) == (True, "edsr")
