"""Draws the loss curve of a training run as SVG and prints it as a small Markdown table.

usage: python curve.py LOSS_JSONL OUT_SVG [--rows 14]

LOSS_JSONL is the loss.jsonl written by train.py.
"""

import argparse
import json
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 56, 24, 20, 48


def draw(entries):
    """Returns the SVG text: train and held-out loss per token over the minutes, the ternary phase shaded."""
    minutes = max(e["seconds"] for e in entries) / 60
    low, high = 1.0, 4.0

    def x(e):
        return LEFT + (WIDTH - LEFT - RIGHT) * e["seconds"] / 60 / minutes

    def y(loss):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - min(loss, high)) / (high - low)

    def line(key, colour):
        points = " ".join(f"{x(e):.1f},{y(e[key]):.1f}" for e in entries if e[key])
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>'

    start = next((x(e) for e in entries if e["ternary"]), WIDTH - RIGHT)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<title>Training loss of the demo model</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<rect x="{start:.1f}" y="{TOP}" width="{WIDTH - RIGHT - start:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
        'fill="#eef3fa"/>',
    ]
    for k in range(7):
        loss = low + (high - low) * k / 6
        out.append(
            f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - RIGHT}" stroke="#ccc" stroke-width="0.6"/>'
            f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.1f}</text>'
        )
    for minute in range(0, int(minutes) + 1, 10):
        at = x({"seconds": minute * 60})
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{minute}</text>')
    out += [
        line("train", "#9db4d0"),
        line("heldout", "#b03030"),
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">minutes</text>',
        f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 18}" text-anchor="end" fill="#6f8bb0">training loss per token</text>',
        f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 36}" text-anchor="end" fill="#b03030">held-out loss per token</text>',
        f'<text x="{start + 8:.1f}" y="{HEIGHT - BOTTOM - 10}" fill="#456">ternary weights</text>',
        f'<text x="{LEFT + 8}" y="{HEIGHT - BOTTOM - 10}" fill="#456">float weights</text>',
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def table(entries, rows):
    """Returns a Markdown table of about `rows` evenly spaced entries which have a held-out loss."""
    known = [e for e in entries if e["heldout"]]
    picked = sorted({round(i * (len(known) - 1) / (rows - 1)) for i in range(rows)})
    out = ["| minute | step | tokens (M) | weights | train | held-out |", "|---:|---:|---:|---|---:|---:|"]
    for e in (known[i] for i in picked):
        out.append(
            f"| {e['seconds'] / 60:.1f} | {e['step']} | {e['tokens'] / 1e6:.2f} | {'ternary' if e['ternary'] else 'float'} "
            f"| {e['train']:.3f} | {e['heldout']:.3f} |"
        )
    return "\n".join(out)


def main():
    """Writes the picture and prints the table."""
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("loss", type=Path, help="loss.jsonl of train.py")
    arg.add_argument("svg", type=Path, help="picture to write")
    arg.add_argument("--rows", type=int, default=14, help="rows of the table")
    a = arg.parse_args()
    entries = [json.loads(line) for line in a.loss.read_text().splitlines()]
    a.svg.parent.mkdir(parents=True, exist_ok=True)
    a.svg.write_text(draw(entries))
    print(table(entries, a.rows))


if __name__ == "__main__":
    main()
