"""A log becomes an attachment: ``attach.py OUT WAY LOG``; how long it takes and how much memory."""

import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from timing import peak_bytes, say

CHUNK_BYTES = 256 * 1024


def by_supervisor(log, place):
    """Its gzip file, as each handler attaches it."""
    from supervisor._attachments import pack
    from supervisor.models import Attachment

    return pack(Attachment(log), place).part.size_bytes


def by_supervisor_cut(log, place):
    """The same, cut to what a mail server takes."""
    from supervisor._attachments import pack
    from supervisor.models import Attachment

    return pack(Attachment(log), place, limit_bytes=22 * 1024 * 1024).part.size_bytes


def by_supervisor_zlib(log, place):
    sys.modules["isal"] = None  # as if it were not installed
    return by_supervisor(log, place)


def by_isal(log, place):
    from isal import igzip

    with log.open("rb") as source, igzip.open(place / "x.gz", "wb") as output:
        shutil.copyfileobj(source, output, CHUNK_BYTES)
    return (place / "x.gz").stat().st_size


def by_isal_threaded(log, place):
    from isal import igzip_threaded

    with log.open("rb") as source, igzip_threaded.open(place / "x.gz", "wb", threads=1) as output:
        shutil.copyfileobj(source, output, CHUNK_BYTES)
    return (place / "x.gz").stat().st_size


def by_ugrc(log, place):
    """A zip file, in memory as base64, as its SendGridHandler attaches it."""
    from supervisor.message_handlers import SendGridHandler

    handler = SendGridHandler({"api_key": "SG.k"})
    return len(handler._process_attachments([log])[0].file_content.get())


def by_ugrc_mail(log, place):
    """A gzip file in memory, as its EmailHandler attaches it."""
    from supervisor.message_handlers import EmailHandler

    return len(EmailHandler._build_gzip_attachment(log).get_payload())


if __name__ == "__main__":
    log = Path(sys.argv[3])
    with tempfile.TemporaryDirectory(dir=log.parent) as place:
        began = perf_counter()
        size = globals()[f"by_{sys.argv[2]}"](log, Path(place))
        taken = perf_counter() - began
    say({"taken": taken, "peak": peak_bytes(), "size": size})
