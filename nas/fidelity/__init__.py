"""Fidelity: how far a cheap verdict on architectures can be trusted, beside a costlier one."""
