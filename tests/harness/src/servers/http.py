"""A web server that answers as it is told, and writes down what it was asked.

http.py ANSWERS LOG [CERTIFICATE KEY]

ANSWERS is a file: a JSON list of {"status": 500, "headers": {}, "body": "", "delay": 0}; the first
request gets the first one, and the last one is for all that follow. When the file changes, it begins
anew. Each request is a JSON object on a line of LOG, written before it is answered.
"""

import http.server
import json
import ssl
import sys
import threading
import time

ANSWERS, LOG, *PAIR = sys.argv[1:]
LOCK = threading.Lock()
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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        request = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
        }
        with LOCK:
            answer = next_answer()
            with open(LOG, "a") as log:
                log.write(json.dumps(request) + "\n")
        time.sleep(answer.get("delay", 0))
        said = answer.get("body", "").encode()
        self.send_response(answer.get("status", 200))
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if PAIR:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*PAIR)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
