"""Fidelity: how well a cheap evaluator ranks networks, compared with a costlier one."""
