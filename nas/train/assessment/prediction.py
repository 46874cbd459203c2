"""The prediction for an image file."""

from attrs import frozen


@frozen
class Prediction:
    """Hold the most probable classes of one image file.

    Attributes:
        file: Path of the file.
        classes: Names of the most probable classes, the most probable first; empty for a file that cannot be decoded.
        probabilities: Probability of each of these classes.
        problem: Why the file cannot be decoded; "" where it can.

    >>> import nas
    >>> nas.Prediction("cat.jpg", ("cat", "dog"), (0.9, 0.1)).classes[0]
    'cat'
    """

    file: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    problem: str = ""
