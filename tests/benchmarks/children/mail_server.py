"""An SMTP server on the loopback that takes everything: ``mail_server.py [KEY]``; it prints its port."""

import asyncio
import ssl
import sys

from aiosmtpd.smtp import SMTP


class Sink:
    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        return "250 taken"


async def serve(context):
    event_loop = asyncio.get_running_loop()
    server = await event_loop.create_server(lambda: SMTP(Sink(), tls_context=context, loop=event_loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if sys.argv[1:] else None
    if tls:
        tls.load_cert_chain(sys.argv[1])
    asyncio.run(serve(tls))
