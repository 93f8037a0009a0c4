import sys
import threading

from keras_diffkd.silent_prints import silent_prints


def test_prints_are_dropped_and_come_back(capsys):
    with silent_prints():
        print("out")
        print("err", file=sys.stderr)
    print("after")
    assert capsys.readouterr() == ("after\n", "")


def test_two_threads_leave_the_streams_as_they_were(capsys):
    """The first to come leaves first, which is when the second saves what it finds."""
    streams = sys.stdout, sys.stderr
    inside, outside = threading.Event(), threading.Event()

    def second():
        with silent_prints():
            inside.set()
            outside.wait(10)

    thread = threading.Thread(target=second)
    with silent_prints():
        thread.start()
        inside.wait(0.2)
    outside.set()
    thread.join()
    assert (sys.stdout, sys.stderr) == streams
