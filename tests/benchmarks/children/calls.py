"""What an empty supervised call takes, one way for each process: ``calls.py OUT WAY``."""

import sys

from timing import per_call, say


def plain():
    pass


def by_watch():
    """What somebody writes who wants no more than the time that it took, and whether it went well."""
    from time import monotonic

    class Watch:
        def __enter__(self):
            self.began = monotonic()
            return self

        def __exit__(self, kind, error, trace):
            self.took = monotonic() - self.began
            self.failed = error is not None
            return False

    def timed():
        with Watch():
            return plain()

    return timed


def by_supervisor():
    from supervisor import supervised

    return supervised("silent", journal=False)(plain)


def by_supervisor_with_run():
    from supervisor import supervised

    def takes_run(run):
        pass

    return supervised("silent", journal=False)(takes_run)


def by_stamina():
    import stamina

    return stamina.retry(on=ValueError)(plain)


def by_tenacity():
    import tenacity

    return tenacity.retry(plain)


def by_cronitor():
    """Its network is cut off at the last point: what it would hand to ``requests`` it hands to nobody."""
    import cronitor

    cronitor.api_key = "key"
    cronitor.Monitor._req.get = lambda **kwargs: None
    return cronitor.job("silent")(plain)


def by_knockknock():
    """The same."""
    import requests

    requests.post = lambda *args, **kwargs: None
    from knockknock import slack_sender

    return slack_sender(webhook_url="http://127.0.0.1:9/hook", channel="ops")(plain)


def by_sentry():
    import sentry_sdk

    class Memory(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope):
            pass

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Memory)
    return sentry_sdk.monitor(monitor_slug="silent")(plain)


def by_loguru():
    from loguru import logger

    return logger.catch(plain)


if __name__ == "__main__":
    say(per_call(globals()[f"by_{sys.argv[2]}"]()))
    # cronitor waits in a thread for a second, and others have threads too; nobody is interested any more.
    sys.stdout.flush()
