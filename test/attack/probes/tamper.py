# Tries every way to change the paths given as arguments; prints PATH:WAY=OUTCOME.
def ways(path):
    parent, name = os.path.split(path)
    side = os.path.join('/tmp', 'side-' + str(os.getpid()))
    near = os.path.join(os.environ['WORKSPACE'], 'near')
    in_guest = os.environ['TIER'] in ('container', 'vm+gvisor')

    # A guest kernel reports a change of attributes as done that the host refused. Here it has to show no change; that there is
    # none on the host, the caller of this probe checks there.
    def effective(change, look):
        before = look()
        change()
        if in_guest and look() == before:
            raise PermissionError(errno.EROFS, 'nothing changed')

    # A guest kernel keeps a FIFO that the host refuses in its own memory, where nobody else sees it: it is told apart by what it is.
    def make_fifo(path):
        os.mkfifo(path)
        if in_guest:
            os.unlink(path)
            raise PermissionError(errno.EROFS, 'in the guest only')

    def fresh(kind):
        if os.path.lexists(near):
            if os.path.isdir(near) and not os.path.islink(near):
                os.rmdir(near)
            else:
                os.unlink(near)
        if kind == 'dir':
            os.mkdir(near)
        else:
            write_file(near)
        return near

    yield 'create', lambda: write_file(path)
    yield 'with-parents', lambda: (os.makedirs(parent, exist_ok=True), write_file(path))
    yield 'append', lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    yield 'truncate', lambda: effective(lambda: os.truncate(path, 0), lambda: os.stat(path).st_size)
    yield 'unlink', lambda: os.unlink(path)
    yield 'rmdir', lambda: os.rmdir(path)
    yield 'rename-over', lambda: os.rename(fresh('file'), path)
    yield 'rename-dir-over', lambda: os.rename(fresh('dir'), path)
    yield 'rename-away', lambda: os.rename(path, near + '-away')
    yield 'symlink', lambda: os.symlink('/tmp/elsewhere', path)
    yield 'link', lambda: os.link(fresh('file'), path)
    yield 'mkdir', lambda: os.mkdir(path)
    yield 'fifo', lambda: make_fifo(path)
    yield 'below', lambda: write_file(os.path.join(path, 'planted'))
    yield 'chmod', lambda: effective(lambda: os.chmod(path, 0o707), lambda: os.stat(path).st_mode)
    yield 'utime', lambda: effective(lambda: os.utime(path, (1, 1)), lambda: os.stat(path).st_mtime)


for target in sys.argv[1:]:
    for way, action in ways(target):
        attempt(f'{target}:{way}', action)
near = os.path.join(os.environ['WORKSPACE'], 'near')
if os.path.isdir(near):
    os.rmdir(near)
elif os.path.lexists(near):
    os.unlink(near)
