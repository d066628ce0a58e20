# Put before every Python probe. Each attempt prints one line: NAME=OK with what it got, or NAME=ERRNO.
import ctypes, errno, fcntl, os, platform, select, signal, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# x86-64 and arm64 numbers (asm/unistd_64.h, asm-generic/unistd.h).
NUMBERS = dict(
    mount=(165, 40), umount2=(166, 39), pivot_root=(155, 41), clone=(56, 220), unshare=(272, 97), setns=(308, 268),
    ptrace=(101, 117), personality=(135, 92), syslog=(103, 116), reboot=(169, 142), init_module=(175, 105),
    finit_module=(313, 273), delete_module=(176, 106), kexec_load=(246, 104), bpf=(321, 280),
    perf_event_open=(298, 241), userfaultfd=(323, 282), keyctl=(250, 219), add_key=(248, 217),
    request_key=(249, 218), process_vm_readv=(310, 270), process_vm_writev=(311, 271), open_by_handle_at=(304, 265),
    name_to_handle_at=(303, 264), io_uring_setup=(425, 425), open_tree=(428, 428), move_mount=(429, 429),
    fsopen=(430, 430), fsmount=(432, 432), pidfd_open=(434, 434), clone3=(435, 435), pidfd_getfd=(438, 438),
    mount_setattr=(442, 442), fanotify_init=(300, 262), swapon=(167, 224), settimeofday=(164, 170),
    iopl=(172, -1), modify_ldt=(154, -1), quotactl=(179, 60), acct=(163, 89), shmget=(29, 194), fchmodat2=(452, 452),
    mknodat=(259, 33), setxattr=(188, 5), kcmp=(312, 272), statmount=(457, 457),
)


def call_number(name):
    return NUMBERS[name][0 if platform.machine() == 'x86_64' else 1]


def syscall(name, *args):
    """A raw system call; integers are passed as 64 bits, bytes as pointers."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    value = libc.syscall(ctypes.c_long(call_number(name)), *words)
    if value < 0:
        raise OSError(ctypes.get_errno(), name)
    return value


def report(name, outcome):
    print(f'{name}={outcome}', flush=True)


def reason(error):
    if isinstance(error, socket.gaierror):
        return 'ENONAME'
    if isinstance(error, TimeoutError) and error.errno is None:
        return 'ETIMEDOUT'
    return errno.errorcode.get(error.errno, f'E{error.errno}')


def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        report(name, reason(error))
    else:
        report(name, 'OK' if result is None else f'OK {result!r}')


def read_file(path):
    with open(path, 'rb') as file:
        return file.read(4096)


def write_file(path, data=b'attacked\n'):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def talk(address, data=b'', timeout=5, family=None):
    """Connects, sends, and gives every byte of the answer; an end without one is ECONNRESET."""
    with (socket.create_connection(address, timeout) if family is None else socket.socket(family)) as link:
        if family is not None:
            link.settimeout(timeout)
            link.connect(address)
        if data:
            link.sendall(data)
        answer = b''
        try:
            while chunk := link.recv(4096):
                answer += chunk
        except OSError:
            if not answer:
                raise
    if not answer:
        raise OSError(errno.ECONNRESET, 'closed without a byte')
    return answer


def port_in(variable):
    """Host and port of a proxy variable."""
    rest = os.environ[variable].split('//', 1)[1]
    host, _, port = rest.rstrip('/').rpartition(':')
    return host, int(port)


def connect_by_proxy(authority, extra=b''):
    """The first bytes of the proxy's answer to CONNECT."""
    head = authority if isinstance(authority, bytes) else authority.encode()
    return talk(port_in('http_proxy'), b'CONNECT ' + head + b' HTTP/1.1\r\nHost: ' + head + b'\r\n\r\n' + extra)


def dns_query(name, kind=1, ident=0x4242):
    labels = name if isinstance(name, list) else [part.encode() for part in name.split('.')]
    wire = b''.join(bytes([len(label)]) + label for label in labels) + b'\0'
    return struct.pack('>HHHHHH', ident, 0x0100, 1, 0, 0, 0) + wire + struct.pack('>HH', kind, 1)


def dns_udp(server, name, kind=1, timeout=5):
    """Response code and number of answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(timeout)
        link.connect((server, 53))
        link.send(dns_query(name, kind))
        answer = link.recv(4096)
    return answer[3] & 15, struct.unpack('>H', answer[6:8])[0]


def client_hello(server_name):
    """The first flight of a TLS client, with or without a server name."""
    import ssl
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
