"""An evaluator that fine-tunes the weights that each network inherits from a pretrained one."""
