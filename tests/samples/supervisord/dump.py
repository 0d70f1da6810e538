"""What Supervisor itself makes of a configuration, as JSON: dump.py FILE"""
import json, os, shlex, sys
from supervisor.datatypes import Automatic, Syslog
from supervisor.events import getEventNameByType
from supervisor.options import ServerOptions

def log(value):
    return {None: "NONE", Automatic: "AUTO", Syslog: "syslog"}.get(value, value)

options = ServerOptions()
options.realize(["-c", sys.argv[1]], doc="")
processes = {}
for group in options.process_group_configs:
    for p in group.process_configs:
        processes[group.name + ":" + p.name] = {
            "command": shlex.split(p.command),
            "directory": p.directory and os.path.expanduser(p.directory),
            "uid": p.uid,
            "umask": p.umask if p.umask is not None else options.umask,
            "priority": group.priority if p.priority == 999 else p.priority,
            "autostart": p.autostart,
            "autorestart": {"RestartUnconditionally": True, "RestartWhenExitUnexpected": "unexpected"}.get(
                getattr(p.autorestart, "__name__", ""), False),
            "startsecs": p.startsecs,
            "startretries": p.startretries,
            "exitcodes": list(p.exitcodes),
            "stopsignal": int(p.stopsignal),
            "stopwaitsecs": p.stopwaitsecs,
            "stopasgroup": p.stopasgroup,
            "redirect_stderr": p.redirect_stderr,
            "stdout_logfile": log(p.stdout_logfile),
            "stdout_logfile_maxbytes": p.stdout_logfile_maxbytes,
            "stdout_logfile_backups": p.stdout_logfile_backups,
            "stdout_capture_maxbytes": p.stdout_capture_maxbytes,
            "stdout_events_enabled": p.stdout_events_enabled,
            "stdout_syslog": p.stdout_syslog,
            "stderr_logfile": log(p.stderr_logfile),
            "stderr_logfile_maxbytes": p.stderr_logfile_maxbytes,
            "stderr_logfile_backups": p.stderr_logfile_backups,
            "stderr_capture_maxbytes": p.stderr_capture_maxbytes,
            "stderr_events_enabled": p.stderr_events_enabled,
            "stderr_syslog": p.stderr_syslog,
            "environment": p.environment,
            "events": sorted(getEventNameByType(e) for e in getattr(group, "pool_events", [])),
            "buffer_size": getattr(group, "buffer_size", None),
            "socket": getattr(getattr(group, "socket_config", None), "url", None),
        }
json.dump(processes, sys.stdout)
