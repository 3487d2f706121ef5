"""Measures the demo model's checkpoint: held-out loss beside the teacher's, zeros in the activations, unselected samples.

usage: python evaluate.py CHECKPOINT HELDOUT [--teacher TEACHER_DIR] [--samples 10] [--json OUT]

The loss is the cross-entropy (nats) of every token of a story and of its end, each story standing alone after BOS; it is
given per token and per character, because student and teacher have different vocabularies. Per character the end of the
story counts in the sum while no character is added for it, for both alike.

The teacher, stories15M, sees at most 256 tokens. A story of at most 256 tokens is scored in one pass. Of a longer one the
first 256 predictions come from the first window; each following window starts 128 tokens later and adds only the
predictions not made yet, so those see at least 128 tokens before them. TEACHER_DIR holds stories15M.bin and
tokenizer.bin (generate.py says where they come from). As the teacher's mark of a story's end BOS or EOS is accepted: their
probabilities are added.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")

import generate
import model as net
import tokenizer as tok
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

STRIDE = 128


def unpack_ternary(b):
    """Returns the matrix of -1, 0, 1 held in a packed byte matrix."""
    return torch.cat([(b >> 2 * j & 3) for j in range(4)]).float() - 1


def load_checkpoint(folder):
    """Returns the shape, the float32 working weights and the float tensors of an exported checkpoint."""
    c, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    shape = net.Shape(
        c["hidden_size"],
        c["intermediate_size"],
        c["num_hidden_layers"],
        c["num_attention_heads"],
        c["num_key_value_heads"],
        c["head_dim"],
        c["vocab_size"],
        c["max_position_embeddings"],
        c["rms_norm_eps"],
        c["rope_theta"],
    )

    def layer(i, name):
        return tensors[f"model.layers.{i}.{name}.weight"]

    ready = {
        n: [
            unpack_ternary(layer(i, hf)) * tensors[f"model.layers.{i}.{hf}.weight_scale"].float()
            for i in range(shape.layers)
        ]
        for n, hf in net.PROJECTIONS.items()
    }
    weights = {
        fused: [torch.cat([ready[p][i] for p in parts]) for i in range(shape.layers)]
        for fused, parts in net.FUSED.items()
    }
    floats = {
        n: torch.stack([layer(i, hf) for i in range(shape.layers)]).float() for n, hf in net.NORMS.items()
    }
    floats |= {
        "embed": tensors["model.embed_tokens.weight"].float(),
        "final": tensors["model.norm.weight"].float(),
    }
    return shape, weights, floats


class Zeros:
    """Counts, per layer, the zeros after relu2 and after the int8 quantisation before down_proj, of the real tokens."""

    def __init__(self, layers):
        """Starts counting."""
        self.relu, self.int8, self.total, self.mask = [0] * layers, [0] * layers, [0] * layers, None

    def __call__(self, i, r, m):
        """Counts the zeros of one layer of one batch."""
        r, q = r[self.mask], net.int8_levels(m)[0][self.mask]
        self.relu[i] += int((r == 0).sum())
        self.int8[i] += int((q == 0).sum())
        self.total[i] += r.numel()

    def shares(self):
        """Returns [(share after relu2, share after int8)] of the layers."""
        return [(r / t, q / t) for r, q, t in zip(self.relu, self.int8, self.total, strict=True)]


@torch.no_grad()
def student_loss(folder, stories, batch=20):
    """Returns the summed loss, the number of predicted tokens and the zero shares of the checkpoint on the stories."""
    shape, weights, floats = load_checkpoint(folder)
    rows = sorted(
        (
            [*e.ids, tok.EOS_ID]
            for e in Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(stories)
        ),
        key=len,
    )
    zeros, total, count = Zeros(shape.layers), 0.0, 0
    assert len(rows[-1]) <= shape.context + 1
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        length = len(part[-1]) - 1
        tokens, targets = torch.full((len(part), length), tok.EOS_ID), torch.full((len(part), length), -100)
        for j, row in enumerate(part):
            tokens[j, : len(row) - 1], targets[j, : len(row) - 1] = (
                torch.tensor(row[:-1]),
                torch.tensor(row[1:]),
            )
        zeros.mask = targets >= 0
        x = net.network(shape, weights, floats, tokens, *net.rope_tables(shape, length), probe=zeros)[
            zeros.mask
        ]
        logits = x @ floats["embed"].T
        total += torch.nn.functional.cross_entropy(logits, targets[zeros.mask], reduction="sum").item()
        count += len(logits)
    return total, count, zeros.shares()


def teacher_ids(teacher, text):
    """Encodes a story as llama2.c does: best-score merges, bytes for characters outside the vocabulary."""
    # Single characters exist twice, as byte tokens (ids 3 to 258) and as pieces; the pieces, which come later, count.
    known = {piece: k for k, piece in enumerate(teacher.pieces)}
    ids = [known[b" "]]
    for c in text:
        k = known.get(c.encode())
        ids += [k] if k is not None else [3 + b for b in c.encode()]
    while True:
        best = max(
            (
                (teacher.scores[m], -j, m)
                for j in range(len(ids) - 1)
                if (m := known.get(teacher.pieces[ids[j]] + teacher.pieces[ids[j + 1]])) is not None
            ),
            default=None,
        )
        if best is None:
            return [generate.BOS, *ids]
        ids[-best[1] : 2 - best[1]] = [best[2]]


@torch.no_grad()
def teacher_logits(t, ids):
    """Returns the teacher's logits at every position of one sequence."""
    pos, heads = torch.arange(len(ids)), t.heads
    x = t.embed[torch.tensor(ids)]
    for i in range(t.layers):
        q, k, v = (
            (t._rms(x, t.attn_norm[i]) @ t.wqkv[i].T).view(len(ids), 3, heads, t.head_dim).permute(1, 2, 0, 3)
        )
        a = torch.nn.functional.scaled_dot_product_attention(
            t._rope(q, pos), t._rope(k, pos), v, is_causal=True
        )
        x = x + a.transpose(0, 1).reshape(len(ids), t.dim) @ t.wo[i].T
        gate, up = (t._rms(x, t.ffn_norm[i]) @ t.w13[i].T).split(t.ffn, -1)
        x = x + (torch.nn.functional.silu(gate) * up) @ t.w2[i].T
    return t._rms(x, t.norm) @ t.embed.T


def teacher_loss(folder, stories):
    """Returns the teacher's summed loss, the number of predictions, and how many stories outgrew its context."""
    teacher, total, count, long = generate.Teacher(folder, "cpu"), 0.0, 0, 0
    for story in stories:
        ids = teacher_ids(teacher, story)
        targets = torch.tensor([*ids[1:], generate.EOS])
        long += len(ids) > generate.CONTEXT
        scored = start = 0
        while scored < len(ids):
            window = ids[start : start + generate.CONTEXT]
            logp = teacher_logits(teacher, window).log_softmax(-1)
            logp[:, generate.EOS] = torch.logaddexp(logp[:, generate.EOS], logp[:, generate.BOS])
            end = start + len(window)
            total -= logp[scored - start :].gather(1, targets[scored:end, None]).sum().item()
            scored, start = end, start + STRIDE
        count += len(ids)
    return total, count, long


def samples(folder, count, temperature, top_p, length):
    """Returns `count` stories written by transformers from BOS alone, with the seeds 1, 2, ..."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, out = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval(), []
    for seed in range(1, count + 1):
        torch.manual_seed(seed)
        start = torch.tensor([[tok.BOS_ID]])
        ids = model.generate(
            start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            temperature=temperature,
            top_p=top_p,
            top_k=0,
            max_new_tokens=length,
        )
        out.append(
            tokenizer.decode(ids[0], skip_special_tokens=True)
            + ("" if ids[0, -1] == tok.EOS_ID else " [cut]")
        )
    return out


def main():
    """Prints the figures; see the module's docstring."""
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("checkpoint", type=Path, help="checkpoint folder written by export.py")
    arg.add_argument("heldout", type=Path, help="held-out stories, one JSON string per line, plain or .xz")
    arg.add_argument("--teacher", type=Path, help="folder with stories15M.bin and tokenizer.bin")
    arg.add_argument("--stories", type=int, help="use only the first so many stories")
    arg.add_argument("--samples", type=int, default=0, help="number of samples to write")
    arg.add_argument("--temperature", type=float, default=0.7, help="temperature of the samples")
    arg.add_argument("--top-p", type=float, default=0.9, help="top-p of the samples")
    arg.add_argument("--length", type=int, default=400, help="most tokens of a sample")
    arg.add_argument("--threads", type=int, default=2, help="CPU threads")
    arg.add_argument("--json", type=Path, help="file for all results as JSON")
    a = arg.parse_args()
    torch.set_num_threads(a.threads)
    stories = tok.read_stories(a.heldout)[: a.stories]
    chars = sum(map(len, stories))
    total, count, shares = student_loss(a.checkpoint, stories)
    result = {
        "stories": len(stories),
        "characters": chars,
        "student": {"tokens": count, "per_token": total / count, "per_character": total / chars},
        "zeros": [{"relu2": r, "int8": q} for r, q in shares],
    }
    print(f"{len(stories)} held-out stories, {chars} characters")
    print(
        f"student: {total / count:.4f} per token ({count} tokens), {total / chars:.4f} per character",
        flush=True,
    )
    for i, (r, q) in enumerate(shares):
        print(
            f"layer {i}: zeros after relu2 {r:.1%}, after int8 quantisation before down_proj {q:.1%}",
            flush=True,
        )
    if a.teacher:
        total, count, long = teacher_loss(a.teacher, stories)
        result["teacher"] = {
            "tokens": count,
            "per_token": total / count,
            "per_character": total / chars,
            "over_context": long,
        }
        print(
            f"teacher: {total / count:.4f} per token ({count} tokens), {total / chars:.4f} per character; "
            f"{long} stories longer than its context",
            flush=True,
        )
    if a.samples:
        result["samples"] = samples(a.checkpoint, a.samples, a.temperature, a.top_p, a.length)
        for seed, text in enumerate(result["samples"], 1):
            print(f"\n--- seed {seed}\n{text}")
    if a.json:
        a.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
