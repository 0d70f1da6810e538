"""A listener as people write them for Supervisor: it tells of every process that ended unexpectedly.
Run it beside `dsbus dev examples/hello.toml`:  dsbus listen -e PROCESS_STATE_EXITED -- python3 examples/alert.py
or let the fleet run it, so that it goes on when its worker is lost: examples/eventlistener.toml"""
import os, subprocess, sys

def tokens(line):
    return dict(token.split(":", 1) for token in line.split())

def alert(text):
    """Gives the text to the command in ALERT_COMMAND, such as a mailer, or writes it to standard error."""
    command = os.environ.get("ALERT_COMMAND")
    if command:
        subprocess.run(command, shell=True, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    else:
        sys.stderr.write(text)
        sys.stderr.flush()

def main():
    while True:
        # Standard output is what the listener answers with: nothing else may be printed there.
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        header = sys.stdin.readline()
        if not header:
            return
        headers = tokens(header)
        payload = sys.stdin.read(int(headers["len"]))
        result = "OK"
        if headers["eventname"] == "PROCESS_STATE_EXITED":
            event = tokens(payload)
            if event["expected"] == "0":
                try:
                    alert(f"{event['groupname']}:{event['processname']} ended unexpectedly (pid {event['pid']}, serial {headers['serial']})\n")
                except (OSError, subprocess.SubprocessError) as e:
                    sys.stderr.write(f"not sent, so the event has to come again: {e}\n")
                    result = "FAIL"
        sys.stdout.write(f"RESULT {len(result)}\n{result}")
        sys.stdout.flush()

main()
