"""What a call takes that fails five functions deep, and whose message is composed: ``failing.py OUT WAY``."""

import contextlib
import sys
import traceback

from timing import per_call, say

TEXTS = []


def load(depth=4):
    if depth:
        return load(depth - 1)
    parcel = {"county": 29}
    return parcel["apn"]


def caught(function):
    def call():
        with contextlib.suppress(KeyError):
            function()

    return call


def by_format_exception():
    def call():
        try:
            load()
        except KeyError as error:
            TEXTS[:] = ["".join(traceback.format_exception(error))]

    return call


def by_supervisor():
    """The whole of it: report, message, the worker that hands it over, and the wait for that."""
    from supervisor import supervised

    class Memory:
        name = "memory"

        def send_message(self, details):
            TEXTS[:] = [details.message]

    return caught(supervised("failing", handlers=Memory(), journal=False)(load))


def by_supervisor_compose():
    """Only the composing: from the exception to the message."""
    from supervisor import supervise

    with supervise("failing", journal=False) as run:
        pass
    import attrs

    from supervisor import _exceptions
    from supervisor._messages import message_for
    from supervisor._models import Kind

    report = run.report()

    def call():
        try:
            load()
        except KeyError as error:
            details = message_for(Kind.FAILURE, attrs.evolve(report, error=_exceptions.error_details(error)))
            TEXTS[:] = [details.message]

    return call


def by_loguru():
    from loguru import logger

    logger.remove()
    logger.add(lambda text: TEXTS.__setitem__(slice(None), [text]))
    return logger.catch(load)


def by_sentry():
    import sentry_sdk

    class Memory(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope):
            TEXTS[:] = [envelope]

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Memory, default_integrations=True)

    def call():
        try:
            load()
        except KeyError as error:
            sentry_sdk.capture_exception(error)

    return call


if __name__ == "__main__":
    call = globals()[f"by_{sys.argv[2]}"]()
    seconds = per_call(call, most=1000)
    assert TEXTS, "nothing was composed"
    say(seconds)
