#!/usr/bin/env python3
"""Writes tests/fixtures/mixtral: a tiny random Mixtral as a Hugging Face folder, weights in float16, and its logits in float32 at every position.

Needs the packages torch and transformers (5.x). The project does not need them: the fixture is committed.

    tests/oracle/write_experts.py tests/fixtures/mixtral
"""
import copy
import json
import os
import sys

import torch
from transformers import MixtralConfig, MixtralForCausalLM


def main(folder):
    torch.manual_seed(3)
    config = MixtralConfig(
        vocab_size=67, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=8,
        num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=128, rope_theta=10000.0, sliding_window=None,
        tie_word_embeddings=False)
    model = MixtralForCausalLM(config).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            random = 1 + 0.25 * torch.randn_like(values) if "norm" in name else 0.25 * torch.randn_like(values)
            values.copy_(random.half())
    # A copy: half() rounds rotary frequencies, too.
    copy.deepcopy(model).half().save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    ids = torch.randint(0, config.vocab_size, (1, 20))
    with torch.no_grad():
        logits = model(ids).logits[0]
    with open(os.path.join(folder, "logits.json"), "w") as file:
        json.dump({"ids": ids[0].tolist(), "logits": [[float("%.6g" % value) for value in row] for row in logits.tolist()]}, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
