"""Trains the demo model: a small BitNet b1.58 network on short stories, with quantisation-aware training on a CPU.

usage: python train.py --stories STORIES --heldout HELDOUT --out WORK_DIR [--minutes 78] [--resume]

The schedule runs by the clock: the fraction of the allotted minutes that has passed decides the learning rate and
whether the weights are still floats (the first part) or ternary (the rest), so that training ends in time on any
machine. WORK_DIR receives the tokenizer files, `state.pt` every --save-minutes (masters, optimiser, counters),
`loss.jsonl`, and at the end `final.pt`. export.py turns either file into a Hugging Face checkpoint.
"""

import argparse
import dataclasses
import json
import random
import time
from pathlib import Path

import model as net
import tokenizer as tok
import torch
from tokenizers import Tokenizer


def pack(stories, length, rng):
    """Packs whole stories (lists of ids) into rows of `length` + 1 ids: best fit within shuffled chunks, EOS as padding.

    Returns tokens and targets, each [rows, length]; the padding's targets are -100.
    """
    order = list(range(len(stories)))
    rng.shuffle(order)
    rows = []
    for at in range(0, len(order), 2048):
        chunk = sorted(order[at : at + 2048], key=lambda i: -len(stories[i]))
        room = {}
        for i in chunk:
            size = len(stories[i])
            fit = min((r for r in room if r >= size and room[r]), default=None)
            row = room[fit].pop() if fit is not None else []
            if fit is None:
                rows.append(row)
            left = (fit if fit is not None else length + 1) - size
            row.append(i)
            room.setdefault(left, []).append(row)
    rng.shuffle(rows)
    tokens = torch.full((len(rows), length + 1), tok.EOS_ID)
    targets = torch.full((len(rows), length + 1), -100)
    for r, row in enumerate(rows):
        rng.shuffle(row)
        ids = torch.tensor([t for i in row for t in stories[i]])
        tokens[r, : len(ids)] = ids
        targets[r, : len(ids)] = ids
    # A BOS is never a target: nothing follows EOS when the model is used.
    targets[targets == tok.BOS_ID] = -100
    return tokens[:, :-1].contiguous(), targets[:, 1:].contiguous()


def batches(stories, length, rows, seed):
    """Yields (epoch, tokens, targets) without end, packing the shuffled stories anew for every epoch."""
    epoch = 0
    while True:
        tokens, targets = pack(stories, length, random.Random(f"{seed} {epoch}"))
        for at in range(0, len(tokens) - rows + 1, rows):
            yield epoch, tokens[at : at + rows], targets[at : at + rows]
        epoch += 1


def orthogonalise(g, steps=5):
    """Returns the nearest (semi-)orthogonal matrices of a stack, by Muon's Newton-Schulz iteration in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT.contiguous() if tall else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Momentum with orthogonalised updates for the stacks of projection matrices."""

    def __init__(self, masters, momentum=0.95):
        """Starts with zero momentum for every projection."""
        self.momentum, self.buffer = momentum, {n: torch.zeros_like(masters[n]) for n in net.PROJECTIONS}

    def step(self, masters, grads, rate, decay, momentum):
        """Updates the masters in place."""
        for name, g in grads.items():
            buffer = self.buffer[name].lerp_(g, 1 - momentum)
            update = orthogonalise(g.lerp(buffer, momentum))
            out, inner = masters[name].shape[1:]
            masters[name].mul_(1 - rate * decay).add_(update, alpha=-rate * max(1, out / inner) ** 0.5)


def split_gradients(weights, shape):
    """Returns the gradients of the fused working weights as stacks per projection."""
    grads = {}
    for fused, parts in net.FUSED.items():
        sizes = [shape.projection(p)[0] for p in parts]
        stack = torch.stack([w.grad for w in weights[fused]]).float()
        grads.update(zip(parts, stack.split(sizes, 1), strict=True))
    return grads


def learning_rate(done, warmup):
    """Returns the factor of the learning rates when the fraction `done` of the time has passed."""
    return min(1.0, done / warmup) * max(0.0, min(1.0, (1 - done) / (1 - warmup)))


def main():
    """Runs the training; see the module's docstring."""
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument(
        "--stories", type=Path, required=True, help="training stories, one JSON string per line, plain or .xz"
    )
    arg.add_argument("--heldout", type=Path, required=True, help="held-out stories in the same format")
    arg.add_argument(
        "--out", type=Path, required=True, help="folder for the tokenizer, the states and the log"
    )
    arg.add_argument("--minutes", type=float, default=78, help="time allotted to the training proper")
    arg.add_argument("--float-share", type=float, default=0.15, help="share of the time with float weights")
    arg.add_argument(
        "--warmup", type=float, default=0.01, help="share of the time over which the learning rates rise"
    )
    arg.add_argument("--rate", type=float, default=0.02, help="peak learning rate of Muon (projections)")
    arg.add_argument(
        "--adam-rate", type=float, default=0.004, help="peak learning rate of Adam (embedding and norms)"
    )
    arg.add_argument(
        "--decay", type=float, default=0.1, help="weight decay of the projections in the first half"
    )
    arg.add_argument("--rows", type=int, default=16, help="rows of a batch")
    arg.add_argument("--seed", type=int, default=1, help="seed of initialisation and shuffling")
    arg.add_argument("--threads", type=int, default=2, help="CPU threads")
    arg.add_argument("--save-minutes", type=float, default=10, help="time between two saved states")
    arg.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="use torch.compile"
    )
    arg.add_argument("--resume", action="store_true", help="go on from state.pt in the output folder")
    for field in dataclasses.fields(net.Shape):
        if field.type is int:
            arg.add_argument(
                "--" + field.name.replace("_", "-"),
                type=int,
                default=field.default,
                help="size of the network",
            )
    a = arg.parse_args()
    torch.set_num_threads(a.threads)
    shape = net.Shape(**{f.name: getattr(a, f.name) for f in dataclasses.fields(net.Shape) if f.type is int})

    def log(text):
        print(time.strftime("%H:%M:%S"), text, flush=True)

    read = tok.read_stories(a.stories)
    stories = tok.filter_stories(read)
    if a.resume:
        tokenizer = Tokenizer.from_file(str(a.out / "tokenizer.json"))
    else:
        tokenizer = tok.train_tokenizer(stories, shape.vocab)
        tok.save_tokenizer(tokenizer, a.out, shape.context)

    def encode(texts):
        return [[*e.ids, tok.EOS_ID] for e in tokenizer.encode_batch(texts)]

    ids = [s for s in encode(stories) if len(s) <= shape.context]
    held = pack(encode(tok.read_stories(a.heldout)), shape.context, random.Random(0))
    held = [t[: 2 * a.rows] for t in held]
    log(
        f"{len(stories)} of {len(read)} stories, {sum(map(len, ids))} tokens, {shape.ternary_weights()} ternary weights"
    )

    masters = net.new_masters(shape, a.seed)
    muon, step, seen, spent = Muon(masters), 0, 0, 0.0
    floats = [masters[n] for n in ("embed", "final", *net.NORMS)]
    adam = torch.optim.AdamW(floats, lr=a.adam_rate, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)
    if a.resume:
        state = torch.load(a.out / "state.pt")
        for name, value in state["masters"].items():
            masters[name].copy_(value)
        muon.buffer, step, seen, spent = state["muon"], state["step"], state["seen"], state["spent"]
        adam.load_state_dict(state["adam"])
    for p in floats:
        p.requires_grad_()
    cos, sin = net.rope_tables(shape, shape.context)
    loss_of = torch.compile(net.token_losses) if a.compile else net.token_losses
    source = batches(ids, shape.context, a.rows, f"{a.seed} {step}" if a.resume else a.seed)
    budget, curve = a.minutes * 60, (a.out / "loss.jsonl").open("a")

    def save(name, quantise):
        part = a.out / (name + ".part")
        torch.save(
            {
                "shape": dataclasses.asdict(shape),
                "masters": {n: v.detach() for n, v in masters.items()},
                "muon": muon.buffer,
                "adam": adam.state_dict(),
                "step": step,
                "seen": seen,
                "spent": spent,
                "quantised": quantise,
                "arguments": {k: str(v) for k, v in vars(a).items()},
            },
            part,
        )
        part.rename(a.out / name)

    def run(weights, tokens, targets):
        return loss_of(shape, weights, masters, tokens, targets, cos, sin)

    epoch, tokens, targets = next(source)
    run(net.working_weights(masters, False, torch.bfloat16), tokens, targets).backward()
    adam.zero_grad()
    log("compiled")
    begun, total, count, last_save = time.monotonic() - spent, 0.0, 0, spent
    mark = time.monotonic()
    while (spent := time.monotonic() - begun) < budget:
        done = spent / budget
        quantise, factor = done >= a.float_share, learning_rate(done, a.warmup)
        if (spent - last_save) / 60 >= a.save_minutes:
            save("state.pt", quantise)
            last_save = spent
        epoch, tokens, targets = next(source)
        weights = net.working_weights(masters, quantise, torch.bfloat16)
        loss = run(weights, tokens, targets)
        loss.backward()
        with torch.no_grad():
            momentum = min(0.95, 0.85 + 0.1 * step / 200)
            muon.step(
                masters,
                split_gradients(weights, shape),
                a.rate * factor,
                a.decay if done < 0.5 else 0.0,
                momentum,
            )
        adam.param_groups[0]["lr"] = a.adam_rate * factor
        adam.step()
        adam.zero_grad()
        step, seen, total, count = step + 1, seen + tokens.numel(), total + loss.item(), count + 1
        if step % 20 == 0:
            speed, held_loss = count * tokens.numel() / (time.monotonic() - mark), None
            if step % 100 == 0:
                weights = net.working_weights(masters, quantise, torch.bfloat16)
                held_loss = (
                    sum(run(weights, *(t[i : i + a.rows] for t in held)).item() for i in (0, a.rows)) / 2
                )
            entry = {
                "step": step,
                "tokens": seen,
                "epoch": epoch,
                "seconds": round(spent, 1),
                "ternary": quantise,
                "train": round(total / count, 4),
                "heldout": held_loss and round(held_loss, 4),
                "rate": round(a.rate * factor, 5),
                "tokens_per_second": round(speed),
            }
            log(json.dumps(entry))
            curve.write(json.dumps(entry) + "\n")
            curve.flush()
            total, count, mark = 0.0, 0, time.monotonic()
    save("final.pt", True)
    log("finished")


if __name__ == "__main__":
    main()
