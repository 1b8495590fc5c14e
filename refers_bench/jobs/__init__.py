"""Straight-line recipes: prepare, pretrain, finetune."""
