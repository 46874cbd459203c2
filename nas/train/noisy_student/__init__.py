"""Noisy Student: which unlabeled images a teacher labels, and the training set that a student gets."""
