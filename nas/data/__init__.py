"""This package loads labeled images and splits them into training, validation and test images."""
