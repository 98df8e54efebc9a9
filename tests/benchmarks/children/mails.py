"""How long it takes to hand in so many mails: ``mails.py OUT WAY PORT COUNT [CA_FILE]``.

The first mail is not counted: whoever connects or imports at the first one has done so before.
"""

import sys
from time import perf_counter

from timing import say

TEXT = "".join(f"{index:>6} parcels of county {index % 29} loaded\n" for index in range(30))
FROM, TO = "jobs@example.com", "ops@example.com"
PORT, COUNT, CA_FILE = int(sys.argv[3]), int(sys.argv[4]), (sys.argv[5:] or [None])[0]


def timed(send):
    send(0)
    began = perf_counter()
    for index in range(1, COUNT + 1):
        send(index)
    return perf_counter() - began


def by_supervisor():
    from supervisor.message_handlers import EmailHandler
    from supervisor.models import MessageDetails

    security = {"security": "starttls", "ca_file": CA_FILE} if CA_FILE else {"security": "none"}
    handler = EmailHandler(smtp_server="127.0.0.1", smtp_port=PORT, from_address=FROM, to_addresses=TO, **security)
    taken = timed(lambda index: handler.send_message(MessageDetails(f"Loaded {index}", TEXT)))
    handler.close()
    return taken


def written(index):
    """Write what EmailHandler writes, as somebody would write it by hand."""
    from email.message import EmailMessage
    from email.utils import localtime, make_msgid

    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = FROM, TO, f"Loaded {index}"
    mail["Date"], mail["Message-ID"] = localtime(), make_msgid(domain="example.com")
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(TEXT)
    mail.add_alternative(f"<html><body><pre>{TEXT}</pre></body></html>", subtype="html")
    return mail


def connected():
    import smtplib
    import ssl

    smtp = smtplib.SMTP("127.0.0.1", PORT, local_hostname="localhost")
    if CA_FILE:
        smtp.starttls(context=ssl.create_default_context(cafile=CA_FILE))
    return smtp


def by_smtplib():
    with connected() as smtp:
        return timed(lambda index: smtp.send_message(written(index)))


def by_ready_bytes():
    """The least that anybody can do: the same bytes again and again, written before."""
    ready = written(0).as_bytes().replace(b"\n", b"\r\n")
    with connected() as smtp:
        return timed(lambda index: smtp.sendmail(FROM, [TO], ready))


def by_smtplib_each():
    def send(index):
        with connected() as smtp:
            smtp.send_message(written(index))

    return timed(send)


def by_ugrc():
    from supervisor.message_handlers import EmailHandler
    from supervisor.models import MessageDetails

    settings = {"from_address": FROM, "to_addresses": TO, "smtpServer": "127.0.0.1", "smtpPort": PORT}
    handler = EmailHandler(settings)

    def send(index):
        details = MessageDetails()
        details.subject, details.message = f"Loaded {index}", TEXT
        handler.send_message(details)

    return timed(send)


if __name__ == "__main__":
    say(globals()[f"by_{sys.argv[2]}"]())
