"""Reads the stories, drops those that read badly, and trains the byte-level BPE tokenizer of the demo model.

usage: python tokenizer.py STORIES OUT_DIR [--vocab 4096]

STORIES holds one JSON string per line (plain or .xz). OUT_DIR receives the tokenizer files of a Hugging Face
checkpoint: tokenizer.json, tokenizer_config.json, special_tokens_map.json and generation_config.json.
"""

import argparse
import collections
import json
import lzma
import re
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
BOS_ID, EOS_ID = 0, 1
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
RARE = 3  # A word found in fewer stories than this is taken for a slip of the teacher.


def read_stories(path):
    """Returns the stories of a file with one JSON string per line; a name ending in .xz is decompressed."""
    opener = lzma.open if str(path).endswith(".xz") else open
    with opener(path, "rt", encoding="utf8") as f:
        return [json.loads(line) for line in f if line.strip()]


def reads_well(story):
    """Says whether a story passes the simple checks that look at this story alone."""
    if not 200 <= len(story) <= 1500 or not story.isascii() or story.count('"') % 2:
        return False
    if story.rstrip('"')[-1] not in ".!?" or not (story[0].isupper() or story[0] == '"'):
        return False
    if re.search(r"\b(\w+)\s+\1\s+\1\b", story) or re.search(
        r"\b(the|a|and|to|was|of|in|his|her) \1\b", story
    ):
        return False
    sentences = [s.strip() for s in re.split(r"[.!?\n]+", story) if len(s.strip()) > 20]
    if len(set(sentences)) < len(sentences):
        return False
    return len(sentences) > 1


def filter_stories(stories):
    """Keeps the stories that read well and use only words which several other stories use too."""
    words = [set(re.findall(r"[a-z']+", s.lower())) for s in stories]
    count = collections.Counter(w for found in words for w in found)
    return [
        s
        for s, found in zip(stories, words, strict=True)
        if reads_well(s) and min((count[w] for w in found), default=0) >= RARE
    ]


def train_tokenizer(stories, vocab):
    """Trains byte-level BPE with the Llama 3 pre-tokenizer; encoding puts BOS first, as Llama 3 does."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[AddedToken(BOS, special=True), AddedToken(EOS, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A",
                pair=f"{BOS} $A {BOS}:1 $B:1",
                special_tokens=[(BOS, BOS_ID), (EOS, EOS_ID)],
            ),
        ]
    )
    assert tokenizer.get_vocab_size() == vocab and tokenizer.token_to_id(EOS) == EOS_ID
    return tokenizer


def save_tokenizer(tokenizer, folder, context):
    """Writes the tokenizer files and the generation defaults of a Hugging Face checkpoint."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS}
    added = {
        str(i): {
            "content": t,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, t in ((BOS_ID, BOS), (EOS_ID, EOS))
    }
    files = {
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            "added_tokens_decoder": added,
            **special,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": context,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "generation_config.json": {
            "bos_token_id": BOS_ID,
            "eos_token_id": EOS_ID,
            "pad_token_id": EOS_ID,
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 0.9,
        },
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")


def main():
    """Trains the tokenizer alone; train.py does the same as its first step."""
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("stories", type=Path, help="stories, one JSON string per line, plain or .xz")
    arg.add_argument("out", type=Path, help="folder for the tokenizer files")
    arg.add_argument("--vocab", type=int, default=4096, help="vocabulary size, specials included")
    arg.add_argument("--context", type=int, default=512, help="context length noted in tokenizer_config.json")
    a = arg.parse_args()
    stories = read_stories(a.stories)
    kept = filter_stories(stories)
    save_tokenizer(train_tokenizer(kept, a.vocab), a.out, a.context)
    print(f"{len(kept)} of {len(stories)} stories kept, {sum(map(len, kept)) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
