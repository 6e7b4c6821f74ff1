"""Only what libraries print about broken files is kept from standard error."""

import os
import subprocess
import sys
import threading

from nnunet_vmunet.files.quiet import quiet

LIBTIFF = b"ZIPDecode: Decoding error at scanline 0, incorrect data check.\n"
METAIO = b"MetaImage: M_ReadElementsData: data not read completely\n   ideal = 56101 : actual = 27890\n"


def test_messages_of_libtiff_and_metaio_disappear(capfd):
    with quiet():
        os.write(2, LIBTIFF + METAIO)
    assert capfd.readouterr().err == ""


def test_what_other_threads_write_is_not_lost(capfd):
    def work():
        with quiet():
            os.write(2, LIBTIFF)
            inside.wait()
            leave.wait()

    inside, leave = threading.Barrier(3), threading.Event()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    os.write(2, b"epoch 3: loss 0.25\n")
    leave.set()
    for thread in threads:
        thread.join()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "epoch 3: loss 0.25\nafterwards\n"


def test_an_error_inside_puts_standard_error_back(capfd):
    try:
        with quiet():
            raise ZeroDivisionError
    except ZeroDivisionError:
        os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_standard_error_may_be_closed():
    code = "import os; os.close(2)\nfrom nnunet_vmunet.files.quiet import quiet\nwith quiet(): print('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
