"""This package measures trained networks on labeled images: accuracy, calibration, confusions and robustness."""
