"""The functions of `distsuper.api.server` 1.0.0, for a dsbus fleet: the same names, parameters,
defaults and results. In a program that has used distsuper, replace

    from distsuper.api.server import *
    from dsbus.distsuper import *

They ask a gateway (`dsbus gateway`) over HTTP. Its address is `DSBUS_GATEWAY`
(`http://user:password@host:9001`), else host and port of `[distsuperctl]` in `./distsuper.ini` or
`/etc/distsuper.ini`, else `http://127.0.0.1:9001`. What differs from distsuper's own server is in
docs/http.md.
"""

from __future__ import annotations

import base64
import configparser
import json
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, List, Optional, Tuple, Union

__all__ = [
    "create_process",
    "get_process",
    "restart_process",
    "start_process",
    "stop_process",
]

# Seconds that an answer may take.
API_TIMEOUT = 30
# distsuper's codes: done; it ran already; it was stopped already.
OK, ALREADY_STARTED, ALREADY_STOPPED = 200, 526, 527

Row = Dict[str, Any]
default_logger = logging.getLogger("client.server")


def create_process(
    program_name: str,
    command: str,
    directory: Optional[str] = None,
    environment: Optional[str] = None,
    auto_start: bool = True,
    machines: str = "127.0.0.1",
    stdout_logfile: str = "/dev/null",
    stderr_logfile: str = "/dev/null",
    touch_timeout: int = 5,
    auto_restart: bool = True,
    max_fail_count: int = 1,
    logger: logging.Logger = default_logger,
) -> str:
    """Declares a program, and starts it unless `auto_start` is False.

    `command` is run by a shell; `environment` is `A=a;B=b`; `machines`, `a;b`, are the workers that
    may run it, the first that can. Returns its id, or "" when that failed: see the log.
    """
    asked = {
        "program_name": program_name,
        "command": command,
        "directory": directory,
        "environment": environment,
        "auto_start": auto_start,
        "auto_restart": auto_restart,
        "touch_timeout": touch_timeout,
        "machines": machines,
        "max_fail_count": max_fail_count,
        "stdout_logfile": stdout_logfile,
        "stderr_logfile": stderr_logfile,
    }
    done, data = _ask("/create", asked, (OK,), logger)
    return str(data["program_id"]) if done else ""


def start_process(
    program_id: Optional[str] = None,
    program_name: Optional[str] = None,
    logger: logging.Logger = default_logger,
) -> bool:
    """True when it runs, also when it did already."""
    return _ask("/start", _which(program_id, program_name), (OK, ALREADY_STARTED), logger)[0]


def stop_process(
    program_id: Optional[str] = None,
    program_name: Optional[str] = None,
    logger: logging.Logger = default_logger,
) -> bool:
    """True when it is stopped, also when it was already."""
    return _ask("/stop", _which(program_id, program_name), (OK, ALREADY_STOPPED), logger)[0]


def restart_process(
    program_id: Optional[str] = None,
    program_name: Optional[str] = None,
    logger: logging.Logger = default_logger,
) -> bool:
    """True when it runs anew."""
    return _ask("/restart", _which(program_id, program_name), (OK, ALREADY_STOPPED), logger)[0]


def get_process(
    program_id: Optional[str] = None,
    program_name: Optional[str] = None,
    logger: logging.Logger = default_logger,
) -> Union[Row, List[Row], None]:
    """What is known of a program; a list of all of them when none is named; None when that failed.

    `status` is 0 STOPPED, 10 STARTING, 20 RUNNING, 40 STOPPING, 100 EXITED, 200 FATAL, -1 UNKNOWN.
    """
    done, data = _ask("/status", _which(program_id, program_name), (OK,), logger)
    return data if done else None


def _which(program_id: Optional[str], program_name: Optional[str]) -> Dict[str, Any]:
    return {"program_id": program_id, "program_name": program_name}


def _ask(
    path: str, asked: Dict[str, Any], good: Tuple[int, ...], logger: logging.Logger
) -> Tuple[bool, Any]:
    """Whether the code is a good one, and the data of the answer. Never raises."""
    address, headers = _gateway()
    url = address + path
    headers["content-type"] = "application/json"
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=API_TIMEOUT) as answer:
            said = json.loads(answer.read())
        code, data = said["code"], said["data"]
    except urllib.error.HTTPError as why:
        logger.error("%s answered %s", url, why.code)
        return False, None
    except OSError as why:
        logger.error("%s cannot be asked: %s", url, why)
        return False, None
    except (ValueError, KeyError, TypeError):
        logger.error("%s gave an answer that is not distsuper's: is it a dsbus gateway?", url)
        return False, None
    if code not in good:
        logger.error("%s refused by %s: %s", url, code, said.get("dmsg", ""))
        return False, None
    return True, data


def _gateway() -> Tuple[str, Dict[str, str]]:
    """Its address, and the headers that say who asks."""
    parts = urllib.parse.urlsplit(os.environ.get("DSBUS_GATEWAY") or _in_file())
    headers: Dict[str, str] = {}
    if parts.username is not None:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        proof = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["authorization"] = f"Basic {proof}"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}", headers


def _in_file() -> str:
    for path in ("distsuper.ini", "/etc/distsuper.ini"):
        file = configparser.RawConfigParser()
        if file.read(path, encoding="utf-8"):
            host = file.get("distsuperctl", "host", fallback="localhost")
            port = file.get("distsuperctl", "port", fallback="3378")
            return f"http://{host}:{port}"
    return "http://127.0.0.1:9001"
