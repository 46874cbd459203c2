"""This package corrupts images in 15 common ways, each in five severities (Hendrycks and Dietterich 2019)."""
