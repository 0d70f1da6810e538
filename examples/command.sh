#!/bin/sh
# Stops and starts a program with the `nats` tool and nothing else, and prints its events meanwhile.
# Run beside `dsbus dev examples/hello.toml`:  sh examples/command.sh
set -eu
NATS_URL=${NATS_URL:-$(cat .dsbus/url)}
export NATS_URL

# Ends by itself: of three copies each is STOPPING, STOPPED, STARTING and RUNNING.
nats sub --raw --count 12 'dsbus.default.event.*.process.hello.>' &
trap 'kill $! 2>/dev/null || true' EXIT
sleep 1 # until it listens
for verb in stop start; do
  # An answer says what is wanted of each instance now, a refusal {"code": 404, "error": "..."}; and
  # where no scheduler is, there is none.
  answer=$(nats req --raw --timeout 2s "dsbus.default.cmd.anonymous.$verb" '{"names": ["hello"]}')
  case $answer in
    *'"instances":'*) echo "$verb accepted" ;;
    *) echo "$verb: ${answer:-no scheduler answers}" >&2 && exit 1 ;;
  esac
  sleep 3
done
wait
