"""Worker programs as the processes they are, and a MusicGen that is all real but its size."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
)

from offline_training.embedder.truth import vocabulary
from realtime.messages import EmbeddingSpace
from realtime.workers.adapter import TextAdapter
from realtime.workers.encoder import checksum
from tests.builders import DIM, SPACE

ROOT = Path(__file__).resolve().parents[1]
FAKES = ROOT / "tests" / "fake_packages"


@contextmanager
def worker(*arguments: object, fakes: bool = False, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`innerear worker ...` and the endpoint that it says it listens at."""
    path = os.pathsep.join([str(FAKES)] * fakes + [str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-m", "realtime.workers", *map(str, arguments), "--endpoint", "tcp://127.0.0.1:*"], cwd=ROOT,
        text=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **environment})
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert " listens at " in said, f"the worker said {said!r} and ended"
        yield process, said.rsplit(" ", 1)[1].strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def write_musicgen(folder: Path, seed: int = 0) -> Path:
    """Model and tokenizer of a tiny MusicGen with random weights, saved as a real one is; 8 kHz, 50 frames a second."""
    torch.manual_seed(seed)
    words = ("<pad>", "</s>", "<unk>", *vocabulary())
    silent = {"pad_token_id": 31, "bos_token_id": 31}
    text = T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    audio = EncodecConfig(sampling_rate=8000, audio_channels=1, upsampling_ratios=[8, 5, 4], num_filters=4,
                          hidden_size=8, codebook_size=32, codebook_dim=8, num_lstm_layers=1, target_bandwidths=[1.0],
                          normalize=False, **silent)
    decoder = MusicgenDecoderConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                    ffn_dim=16, num_codebooks=4, audio_channels=1, **silent)
    model = MusicgenForConditionalGeneration(MusicgenConfig(
        text_encoder=text.to_dict(), audio_encoder=audio.to_dict(), decoder=decoder.to_dict()))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(8.0)  # they begin so small that what is told changes nothing
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()  # they begin as zeros: all codes would sound alike
    model.generation_config.decoder_start_token_id = 32
    model.generation_config.pad_token_id = 32
    model.save_pretrained(folder)
    known = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=known, eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
                            model_max_length=32).save_pretrained(folder)
    return folder


def random_adapter(folder: Path, space: EmbeddingSpace = SPACE) -> TextAdapter:
    """An adapter to this folder's text encoder that was never fitted."""
    model = MusicgenForConditionalGeneration.from_pretrained(folder, local_files_only=True)
    rng = np.random.default_rng(0)
    ones = np.ones(DIM, np.float32)
    return TextAdapter(space, checksum(model.text_encoder), 0 * ones, ones,
                       rng.standard_normal((DIM, 16)).astype(np.float32), np.zeros(16, np.float32), {})


@pytest.fixture(scope="session")
def musicgen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_musicgen(tmp_path_factory.mktemp("musicgen"))
