# A shell's part: runs the command of the arguments on a new terminal and says, as JSON, what became of that terminal.
# PATIENCE_S: seconds that the command may take. HANG_UP_AFTER: closes the terminal once this text is on the screen.
import fcntl, json, os, pty, select, signal, subprocess, sys, termios, time

leader, follower = pty.openpty()
report_read, report_write = os.pipe()
shell = os.fork()
if shell == 0:
    os.close(leader)
    os.close(report_read)
    os.setsid()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(follower, fd)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    before, group = termios.tcgetattr(0), os.tcgetpgrp(0)
    code = subprocess.call(sys.argv[1:], close_fds=True)
    kept, foreground = termios.tcgetattr(0) == before, os.tcgetpgrp(0) == group
    # What a shell would now read as typed by its user.
    quiet = termios.tcgetattr(0)
    quiet[3] &= ~(termios.ICANON | termios.ECHO)
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 0, 0
    termios.tcsetattr(0, termios.TCSANOW, quiet)
    typed = os.read(0, 65536).decode('latin1')
    os.write(report_write, json.dumps(dict(code=code, modesKept=kept, foregroundKept=foreground, input=typed)).encode())
    os._exit(0)

os.close(follower)
os.close(report_write)
marker, screen = os.environ.get('HANG_UP_AFTER'), b''
deadline = time.monotonic() + float(os.environ['PATIENCE_S'])
while time.monotonic() < deadline:
    if not select.select([leader], [], [], 0.2)[0]:
        continue
    try:
        chunk = os.read(leader, 65536)
    except OSError:
        break
    if not chunk:
        break
    screen += chunk
    if marker and marker.encode() in screen:
        break
os.close(leader)
report = b''
if not marker:
    while chunk := os.read(report_read, 65536):
        report += chunk
print(json.dumps(dict(json.loads(report or b'{}'), screen=screen.decode('latin1'))))
