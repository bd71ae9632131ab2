"""The entry point of the command line: sets up streams and signals, and turns every ending into a message and an exit status."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys

__all__ = ["main"]

_AGAIN = 75  # the exit status by which a scheduler knows that the same command, with --resume, can go on


def main() -> None:
    """Run the command line.

    An error made on purpose is one message on standard error and exit status 1. Ctrl-C, SIGTERM and SIGHUP end with 130, 143 and 129, as
    in a shell, during training with the model saved.
    """
    gc.set_threshold(20_000, 20, 20)  # what is imported stays: to walk it again and again is a tenth of a short command
    atexit.register(gc.freeze)  # nor is it walked when the process ends
    try:
        from danlu.cli.terminal import settle_streams

        settle_streams()  # first: whatever is opened takes the number of a stream that is closed, the signals' pipe too
        from danlu.interrupt import heed

        if "DANLU_LAUNCH_PIPE" in os.environ:
            from danlu.launch.heart import begin

            begin()
        with heed():
            status = _run()
    except KeyboardInterrupt:  # before signals were heeded
        status = 130
        _say("danlu: stopped by Ctrl-C")
    except Exception:
        if not _is_one_of_several():
            raise
        import traceback

        traceback.print_exc()
        status = 1
    if _is_one_of_several():  # it has failed: to end in order, it would wait for the others
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _is_one_of_several() -> bool:
    """Whether this process still trains together with others."""
    known = sys.modules.get("danlu.processes")
    return known is not None and known.is_joined()


def _run() -> int:
    from danlu.errors import DanluError, LostError
    from danlu.interrupt import exit_status
    from danlu.language import Translated, current

    plain = sys.stdout, sys.stderr
    try:
        try:
            _choose_language()
            if current() != "en":
                sys.stdout, sys.stderr = (Translated(stream) for stream in plain)
            from danlu.cli.app import app

            app()
        finally:
            sys.stdout.flush()
            sys.stdout, sys.stderr = plain
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except LostError as error:
        from danlu import processes

        if not processes.tell("lost", True):  # the launcher says it
            _say(f"danlu: {error}")
        return _AGAIN
    except DanluError as error:
        from danlu import processes

        told = f"danlu: {error}"
        if "remote" in told:  # the copy of a URL, whose path nobody has given
            from danlu.data.remote import by_url

            told = by_url(told)
        if processes.tell("refused", told):  # the launcher says what the others have to say
            if os.environ.get("DANLU_RANK") == "0":
                _say(told)
        elif processes.says(told):
            _say(told)
        return exit_status(getattr(error, "stopped_by", None)) or 1
    except BrokenPipeError:  # the reader of the output, such as ``head``, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _say(f"danlu: {error.strerror or error}{where}; what was saved before is still there")
    except RecursionError:
        _say("danlu: the input is nested too deeply to be read")
    except Exception as error:
        from danlu.memory import available_memory, in_words, is_shortage

        if not is_shortage(error):
            raise
        _say(
            f"danlu: there was not enough memory ({in_words(available_memory())} are free now); what was saved before is still "
            "there\nHint: fewer rows, a smaller batch (trainer.batch_size) or a smaller network need less"
        )
    return 1


def _choose_language() -> None:
    """Take ``--language zh`` from the arguments, wherever it stands: every command has it."""
    from danlu.errors import ConfigError
    from danlu.language import LANGUAGES, use

    for place, word in enumerate(sys.argv[1:], 1):
        name, equals, value = word.partition("=")
        if word == "--":
            return
        if name == "--language":
            given = value if equals else sys.argv[place + 1] if place + 1 < len(sys.argv) else ""
            del sys.argv[place : place + (1 if equals else 2)]
            if not given or given.startswith("-"):
                raise ConfigError(f"--language needs a value; expected one of: {', '.join(LANGUAGES)}")
            return use(given)


def _say(text: str) -> None:
    """A last word, if there is anyone to hear it."""
    from danlu.language import said
    from danlu.prose import wrapped

    try:
        print(wrapped(text) if sys.stderr.isatty() else said(text), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
