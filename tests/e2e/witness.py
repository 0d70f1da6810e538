"""Writes (CLOCK_BOOTTIME in ns, epoch, pid) every millisecond, to a file of its own."""
import os, sys, time

epoch, pid = os.environ["DSBUS_EPOCH"], os.getpid()
with open(f"{sys.argv[1]}/witness-{epoch}-{pid}", "w", buffering=1) as file:
    while True:
        file.write(f"{time.clock_gettime_ns(time.CLOCK_BOOTTIME)} {epoch} {pid}\n")
        time.sleep(0.001)
