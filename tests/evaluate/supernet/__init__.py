"""Tests of supernets that start from pretrained networks."""
