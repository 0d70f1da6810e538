"""A listener that does as it is told by its arguments, and writes what it was given to a file."""
import os, sys

def main(heard, script):
    out = open(heard, "a", encoding="utf-8")
    stdin = sys.stdin
    steps = iter(script)
    def say(text):
        sys.stdout.write(text)
        sys.stdout.flush()
    say("READY\n")
    while True:
        line = stdin.readline()
        if not line:
            return
        headers = dict(token.split(":") for token in line.split())
        payload = stdin.read(int(headers["len"]))
        out.write(f"{os.getpid()} {headers['serial']} {headers['poolserial']} {headers['eventname']} {len(payload)} {payload[:40]!r}\n")
        out.flush()
        # After the last step, every event is accepted; a step that was taken in an earlier life is not taken again.
        step = next(steps, "ok")
        marker = f"{heard}.{step}"
        if step != "ok" and os.path.exists(marker):
            step = "ok"
        elif step in ("die", "garbage", "ok-and-die", "close"):
            open(marker, "w").close()
        if step == "ok":
            say("RESULT 2\nOKREADY\n")
        elif step == "fail":
            say("RESULT 4\nFAILREADY\n")
        elif step == "die":
            os._exit(3)
        elif step == "ok-and-die":
            say("RESULT 2\nOK")
            os._exit(0)
        elif step == "garbage":
            say("this is no result\n")
            stdin.read()
        elif step == "close":
            os.close(1)
            stdin.read()
        elif step == "hang":
            stdin.read()

main(sys.argv[1], sys.argv[2].split(","))
