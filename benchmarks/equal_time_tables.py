"""The tables and the figure of docs/results.md from the rows of equal_time.py."""

import json
import math

import numpy as np
from record import ROOT

PAGE = ROOT / "docs" / "results.md"
FIGURES = ROOT / "docs" / "images"
COLUMNS = {"mpsnr_db": 2, "mssim": 4, "sam_deg": 2, "ergas": 2}
LOWER = {"sam_deg", "ergas"}
HEAD = ("MPSNR dB", "MSSIM", "SAM deg", "ERGAS", "M param.", "GFLOP/step", "s/step", "steps", "s/image", "paper dB")
CONFIDENCE = 0.95
END = "<!-- end -->"


def write_tables(tables, results):
    """Replace what stands between the marks ``<!-- equal-time NAME -->`` and ``<!-- end -->`` of docs/results.md."""
    text = PAGE.read_text()
    for name, table in tables.items():
        path = results / f"{name}.json"
        mark = f"<!-- equal-time {name} -->\n"
        if not path.is_file() or mark not in text:
            continue
        record = json.loads(path.read_text())
        body = markdown(table, record)
        body += "\n" + curves(record, FIGURES / f"curves-{name}.png")
        if ranked := critical_difference(record, FIGURES / f"ranks-{name}.png"):
            body += "\n" + ranked
        before, _, after = text.partition(mark)
        text = before + mark + body + END + after.partition(END)[2]
    PAGE.write_text(text)


def markdown(table, record):
    """The rows of a table, the best first, and what they say."""
    found = summaries(record)
    best = {key: _best(found, key) for key in COLUMNS}
    lines = [f"| | {' | '.join(HEAD)} |", "|---" * (len(HEAD) + 1) + "|"]
    for method in sorted(found, key=lambda one: -found[one]["mpsnr_db"][0]):
        row, training = found[method], found[method]["training"]
        cells = [_with_deviation(*row[key], digits, best=method == best[key]) for key, digits in COLUMNS.items()]
        own = training.get("methods", {})
        flop = training.get("flop")
        cells += [
            _number(training["parameters"] / 1e6, 2) if "parameters" in training else "n/a",
            _number(flop / 1e9, 0) if flop else "n/a",
            _number(own.get("seconds_per_step"), 2),
            str(own.get("steps", "n/a")),
            _number(row["seconds_per_image"], 1),
            _number(table.get("published", {}).get(method), 2),
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", verdict(table, found), ""])


def summaries(record):
    """Mean and deviation over seeds of each metric by method, and the numbers of its first training."""
    by_method = {}
    for row in record["rows"].values():
        by_method.setdefault(row["method"], []).append(row)
    found = {}
    for method, rows in by_method.items():
        found[method] = {"training": rows[0]["training"], "seconds_per_image": rows[0]["seconds_per_image"]}
        for key in COLUMNS:
            means = [np.mean([scene[key] for scene in row["scenes"].values()]) for row in rows]
            found[method][key] = float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else None
    return found


def verdict(table, found):
    """One line: the best of ours against the best of the others, by each metric."""
    ours = [one for one in table.get("ours", ()) if one in found]
    others = [one for one in found if one not in ours]
    if not ours or not others:
        return ""
    mine = max(ours, key=lambda one: found[one]["mpsnr_db"][0])
    parts = []
    for key, text in (("mpsnr_db", "MPSNR"), ("sam_deg", "SAM"), ("ergas", "ERGAS")):
        rival = _best({one: found[one] for one in others}, key)
        gain = (found[mine][key][0] - found[rival][key][0]) * (-1 if key in LOWER else 1)
        deviations = [found[one][key][1] for one in (mine, rival)]
        clear = "deviation unknown" if None in deviations else _clear(gain, max(deviations))
        parts.append(f"{text} {'ahead of' if gain > 0 else 'behind'} `{rival}` by {abs(gain):.3g} ({clear})")
    return f"Best of ours, `{mine}`: {'; '.join(parts)}."


def critical_difference(record, path):
    """Draw the mean ranks over the scenes and Nemenyi's critical difference; return the lines that show them.

    Demsar, JMLR 7 (2006). A scene has the ranks of the means over seeds.
    """
    from matplotlib.figure import Figure
    from scipy.stats import rankdata, studentized_range

    by_method = {}
    for row in record["rows"].values():
        by_method.setdefault(row["method"], []).append([scene["mpsnr_db"] for scene in row["scenes"].values()])
    if len(by_method) < 3:
        return ""
    values = np.array([np.mean(rows, axis=0) for rows in by_method.values()])
    ranks = rankdata(-values, axis=0).mean(axis=1)
    methods, scenes = values.shape
    critical = studentized_range.ppf(CONFIDENCE, methods, math.inf) / math.sqrt(2)
    critical *= math.sqrt(methods * (methods + 1) / (6 * scenes))
    order = np.argsort(ranks)
    figure = Figure(figsize=(6.5, 0.26 * methods + 1.0), layout="constrained")
    axis = figure.subplots()
    names = list(by_method)
    for place, index in enumerate(order):
        within = ranks[index] <= ranks.min() + critical
        axis.plot(ranks[index], place, "o", color="C0" if within else "0.5")
        axis.text(ranks[index] + 0.15, place, names[index], va="center", fontsize=8)
    axis.axvspan(ranks.min(), ranks.min() + critical, color="C0", alpha=0.12, lw=0)
    axis.set(xlabel=f"mean rank by MPSNR over {scenes} scenes", yticks=[], ylim=(methods - 0.5, -0.5))
    axis.set_xlim(0.5, methods + 3)
    for side in ("top", "left", "right"):
        axis.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return (
        f"![Mean ranks](images/{path.name})\n\n"
        f"Shaded: not separable from the best at 95 % (critical difference {critical:.1f} ranks, {scenes} scenes).\n"
    )


def curves(record, path):
    """Draw the validation of each training against its seconds; return the line that shows it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    styles = ("-", "--", ":")
    drawn = [row for row in record["rows"].values() if row["training"]["curve"] and row["seed"] == 0]
    for number, row in enumerate(sorted(drawn, key=lambda row: -row["training"]["curve"][-1][1])):
        steps, values = np.array(row["training"]["curve"]).T
        seconds = steps * row["training"]["methods"]["seconds_per_step"]
        style = styles[number // 10 % len(styles)]
        axis.plot(seconds[1:], values[1:], style, color=f"C{number % 10}", label=row["method"], lw=1.2)
    if not drawn:
        return ""
    axis.set(xscale="log", xlabel="seconds of training", ylabel="MPSNR of the validation patches, dB")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return f"![Validation against the time of training](images/{path.name})\n"


def _best(found, key):
    return (min if key in LOWER else max)(found, key=lambda one: found[one][key][0])


def _clear(gain, deviation):
    return f"{abs(gain) / deviation:.1f} deviations" if deviation else "no deviation"


def _with_deviation(mean, deviation, digits, *, best):
    text = f"{mean:.{digits}f}"
    text = f"**{text}**" if best else text
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def _number(value, digits):
    return "n/a" if value is None else f"{value:.{digits}f}"
