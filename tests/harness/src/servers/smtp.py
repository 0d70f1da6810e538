"""A mail server that answers as it is told, and writes down what it was sent.

smtp.py ANSWERS LOG WAY [CERTIFICATE KEY]

ANSWERS is a file: a JSON list of answers to the mails, such as "250 OK" or "550 No such user"; the first
mail gets the first one, and the last one is for all that follow. When the file changes, it begins
anew. WAY is "none", "starttls" or "tls"; with a certificate, users must log in as dsbus, with the
password secret. The recipient nobody is refused. Each mail is a JSON object on a line of LOG, written before it is answered.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

ANSWERS, LOG, WAY, *PAIR = sys.argv[1:]
STATE = {"text": None, "served": 0}


def next_answer():
    with open(ANSWERS) as file:
        text = file.read()
    if text != STATE["text"]:
        STATE.update(text=text, served=0)
    answers = json.loads(text)
    answer = answers[min(STATE["served"], len(answers) - 1)]
    STATE["served"] += 1
    return answer


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or WAY == "tls",
            "user": session.auth_data.login.decode() if session.authenticated else None,
            "hello": session.host_name,
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "text": message.get_content(),
        }
        with open(LOG, "a") as log:
            log.write(json.dumps(mail) + "\n")
        return next_answer()


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"dsbus", b"secret")
    return AuthResult(success=right, handled=False, auth_data=data)


async def main():
    context = None
    if PAIR:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*PAIR)

    def serve():
        return SMTP(
            Handler(),
            tls_context=context if WAY == "starttls" else None,
            require_starttls=WAY == "starttls",
            auth_required=bool(PAIR),
            auth_require_tls=WAY == "starttls",
            authenticator=authenticate if PAIR else None,
        )

    way = context if WAY == "tls" else None
    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0, ssl=way)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
