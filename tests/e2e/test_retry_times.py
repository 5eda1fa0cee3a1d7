# SPDX-License-Identifier: MIT
"""Retry times against the transaction that carries them: a scan sees what was committed before it."""
import signal
import threading
import time

from harness import simple_config, wait_for


def test_a_retry_time_that_is_not_committed_when_others_are_looked_up(daemon, receiver, watched):
    """`late` fails while `early` has become due: what looks up `early` cannot see the row of `late` yet,
    and must not forget it."""
    go, tried = threading.Event(), []

    def answer(request):
        name = request.event["data"]["name"]
        tried.append(name)
        if tried.count(name) > 1 or name == "after":
            return 200
        if name == "late":
            go.wait()
        return 503

    receiver.answer = answer
    daemon.write(simple_config(watched, receiver.url, sink='retry = { schedule = [ "0s", "1s", "1s" ]; };'))
    daemon.start()
    (watched / "late").write_text("x")
    wait_for(lambda: tried == ["late"], "the first attempt")
    (watched / "early").write_text("x")
    wait_for(lambda: daemon.sink()["failed"] == 1, "a failure")
    due = time.time() + 1.2
    (watched / "after").write_text("x")  # its commit has the retry time of `early` too
    wait_for(lambda: "after" in tried, "the one behind it")
    daemon.process.send_signal(signal.SIGSTOP)
    go.set()
    wait_for(lambda: time.time() > due, "`early` to be due, and the word about `late` to wait to be read")
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(lambda: tried.count("early") == 2, "`early` to be sent again")
    wait_for(lambda: tried.count("late") == 2, "`late` to be sent again")
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
