"""A tiny CLAP model with random weights, saved as a real one is."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

WORDS = ("<s>", "<pad>", "</s>", "<unk>", "calm", "loud", "piano", "drums")
DIM = 12


def write_clap(folder: Path, seed: int = 0) -> Path:
    """Model, feature extractor and tokenizer in a folder."""
    torch.manual_seed(seed)
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1], "num_attention_heads": [1, 2],
             "projection_dim": DIM, "enable_fusion": False, "num_classes": 2}
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 40, "projection_dim": DIM}
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=DIM)).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad").save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                            unk_token="<unk>", model_max_length=32).save_pretrained(folder)
    return folder
