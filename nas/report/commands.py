"""Commands of `nas` that a page or a message shows, quoted so that they can be pasted into a shell."""

import os
import shlex

from nas.studies.defaults import DEFAULT_STORAGE


def command_line(*words: str, storage: str = DEFAULT_STORAGE) -> str:
    """Return a command of `nas`.

    Args:
        words: Verb and arguments, not yet quoted for a shell.
        storage: URL of the storage of the study. Its passwords are left out, for the user to fill in.

    >>> command_line("show", "study:my study:best")
    "nas show 'study:my study:best'"
    """
    from nas.studies.urls import without_password

    at = () if storage == DEFAULT_STORAGE else ("--storage", without_password(storage))
    return " ".join(map(shell_word, ("nas", *words, *at)))


def shell_word(word: str) -> str:
    r"""Return a word of a command line as a shell reads it; control characters and wrong bytes are escaped.

    >>> shell_word("a b"), shell_word("a\x07'b")
    ("'a b'", "$'a\\x07\\x27b'")
    """
    if word.isprintable():
        return shlex.quote(word)
    letters = (one if one.isprintable() and one not in "'\\" else _bytes(one) for one in word)
    return f"$'{''.join(letters)}'"


def _bytes(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter))
