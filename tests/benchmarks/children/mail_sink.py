"""An SMTP server that takes everything and costs as little as it can: ``mail_sink.py``; it prints its port.

aiosmtpd takes so long over each command that it hides what the clients take. This one only reads and answers. It
offers PIPELINING, as Postfix, Exim, Exchange and Gmail do and aiosmtpd does not.
"""

import socketserver


class Taking(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
            self.wfile.write(ANSWERS.get(word, b"250 fine\r\n"))
            if word == b"QUIT":
                return


ANSWERS = {b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 33554432\r\n", b"QUIT": b"221 bye\r\n"}


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Taking) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
