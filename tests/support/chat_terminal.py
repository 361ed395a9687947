"""A conversation with mlcc chat on a pseudo terminal: prompts, line editing, Ctrl-C at the prompt and in an answer, leaving.

usage: chat_terminal.py MLCC MODEL STATE_FOLDER       exit code 0, or 1 with what was on the screen
"""

import os
import pty
import re
import select
import sys
import termios
import time

PATIENCE_S = 60


class Terminal:
    def __init__(self, words, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, environment)
        self.screen, self.seen = "", 0

    def _pump(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", data.decode(errors="replace"))
        return bool(data)

    def wait(self, what):
        """Until `what` appears behind what was waited for before."""
        end = time.monotonic() + PATIENCE_S
        while what not in self.screen[self.seen :]:
            if time.monotonic() > end or not self._pump(0.2) and what not in self.screen[self.seen :]:
                sys.exit(f"'{what}' did not appear; the screen:\n{self.screen}")
        self.seen = self.screen.index(what, self.seen) + len(what)

    def prompt(self, text=">>> "):
        """Until keys are read one by one: before, the kernel edits the line."""
        self.wait(text)
        end = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if time.monotonic() > end:
                sys.exit("the line is not edited by mlcc")
            time.sleep(0.01)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self._pump(0.2):
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def main():
    mlcc, model, state = sys.argv[1:]
    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": state}
    chat = Terminal([mlcc, "chat", model, "--set", "temperature=0;max_tokens=12"], environment)
    chat.wait("Ctrl-D leaves")
    chat.prompt()
    # The line is edited: one character back, another instead.
    chat.type("/stats.\b\r")
    chat.wait("nothing was asked yet")
    chat.prompt()
    chat.type("never sent\x03")
    chat.prompt()
    chat.type("/nothing\r")
    chat.wait("there is no command '/nothing'")  # and the conversation goes on
    chat.prompt()
    chat.type('"""Once upon\r')
    chat.prompt("... ")
    chat.type('a time,"""\r')
    chat.wait("reached max_tokens")
    chat.prompt()
    # At this temperature an answer has no end but the context window's.
    chat.type("/set temperature=100;max_tokens=0\r")
    chat.prompt()
    chat.type("Tom had\r")
    chat.wait("\n")
    while len(chat.screen) < chat.seen + 8:
        chat._pump(0.2)
    chat.type("\x03")
    chat.wait("(stopped)")
    chat.prompt()
    chat.type("/stats\r")
    chat.wait("the last answer has")
    chat.prompt()
    chat.type("\x04")
    code = chat.end()
    if code != 0:
        sys.exit(f"exit code {code}; the screen:\n{chat.screen}")
    if "never sent" in open(os.path.join(state, "mlcc", "chat_history")).read():
        sys.exit("a line that was taken back is in the history")


main()
