"""Recipes of full training runs: their keys, their YAML files and the presets."""
