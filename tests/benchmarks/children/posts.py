"""How long it takes to send so many mails to a local SendGrid: ``posts.py OUT WAY URL COUNT``. The first one is not counted."""

import json
import sys
from time import perf_counter

from timing import say

SUBJECT = "nightly parcels failed"
TEXT = "Traceback (most recent call last):\n" + "  File 'parcels.py', line 41, in load\n" * 40
SETTINGS = {"api_key": "SG.k", "from_address": "nightly@example.com", "to_addresses": ["ops@example.com"]}
URL, COUNT = sys.argv[3], int(sys.argv[4])


def timed(send):
    send()
    began = perf_counter()
    for _ in range(COUNT):
        send()
    return {"taken": perf_counter() - began}


def plain_mail():
    return {
        "personalizations": [{"to": [{"email": "ops@example.com"}]}],
        "from": {"email": "nightly@example.com"},
        "subject": SUBJECT,
        "content": [{"type": "text/plain", "value": TEXT}, {"type": "text/html", "value": f"<pre>{TEXT}</pre>"}],
    }


def by_http_client():
    from http.client import HTTPConnection, HTTPSConnection

    scheme, _, server = URL.partition("://")
    connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(server, timeout=10)
    headers = {"Authorization": "Bearer SG.k", "Content-Type": "application/json"}

    def send():
        connection.request("POST", "/v3/mail/send", json.dumps(plain_mail()).encode(), headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 202, response.status

    return timed(send)


def by_library():
    """The sendgrid library as it comes, with its own connection for each mail."""
    import sendgrid

    client = sendgrid.SendGridAPIClient(SETTINGS["api_key"], host=URL)
    client.client.timeout = 10
    return timed(lambda: client.send(plain_mail()))


def by_library_mail():
    """The least that the library lets anybody do who has it write the mail: its Mail, over http.client's connection."""
    from http.client import HTTPConnection, HTTPSConnection

    from sendgrid.helpers.mail import Mail

    scheme, _, server = URL.partition("://")
    connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(server, timeout=10)
    headers = {"Authorization": "Bearer SG.k", "Content-Type": "application/json"}

    def send():
        mail = Mail("nightly@example.com", "ops@example.com", SUBJECT, TEXT, f"<pre>{TEXT}</pre>")
        connection.request("POST", "/v3/mail/send", json.dumps(mail.get()).encode(), headers)
        response = connection.getresponse()
        response.read()

    return timed(send)


def by_supervisor():
    from supervisor.message_handlers import SendGridHandler
    from supervisor.models import MessageDetails

    handler = SendGridHandler(**SETTINGS, host=URL)
    messages = [MessageDetails(SUBJECT, TEXT) for _ in range(COUNT + 1)]
    taken = timed(lambda: handler.send_message(messages.pop()))
    handler.close()
    return taken | {"shares": shares()}


def shares():
    """Return where the handler's own time goes, in seconds for each mail."""
    import io

    from supervisor._attachments import packed
    from supervisor.message_handlers import SendGridHandler, _sendgrid
    from supervisor.models import MessageDetails

    handler, details = SendGridHandler(**SETTINGS), MessageDetails(SUBJECT, TEXT)
    mail = _sendgrid.compose_mail(handler._mail_settings(), details)

    def pack_nothing():
        with packed((), limit_bytes=1):
            pass

    def write():
        _sendgrid.write_json(mail, io.BytesIO())

    steps = {
        "its mail (subject, text, HTML, by the library's classes)": lambda: _sendgrid.compose_mail(
            handler._mail_settings(), details
        ),
        "packing attachments (none here)": pack_nothing,
        "writing JSON": write,
    }
    return {name: timed(step)["taken"] / COUNT for name, step in steps.items()}


def by_ugrc():
    """ugrc-supervisor 3.3, whose host can only be set from behind."""
    from supervisor.message_handlers import SendGridHandler
    from supervisor.models import MessageDetails

    handler = SendGridHandler(SETTINGS)
    handler.sendgrid_client.client.host = URL

    def send():
        details = MessageDetails()
        details.subject, details.message = SUBJECT, TEXT
        handler.send_message(details)

    return timed(send)


if __name__ == "__main__":
    say(globals()[f"by_{sys.argv[2]}"]())
