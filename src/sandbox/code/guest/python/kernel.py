# Runs the cells.

OWN_FILE = "<glovebox>"


class Kernel:
    def __init__(self, channel):
        self._channel = channel
        self._process = os.getpid()
        self._count = 0
        self._cell = "-"
        self._running = False
        self._interrupted = False
        self._loop = None
        self._main = types.ModuleType("__main__")
        self._main.display = self.display
        sys.modules["__main__"] = self._main
        sys.argv = [""]
        # A line at a time: a `print` is one piece of output, and is there when it happens.
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)
        # Last, so that a file of the working directory never stands in for a module of Python or of a package.
        sys.path.append("")
        sys.meta_path.insert(0, FigureBackend(self))
        os.environ.setdefault("MPLBACKEND", "module://" + BACKEND)

    def display(self, *values):
        """Shows values as results of the running cell."""
        for value in values:
            self._result(value, False)

    def show_figures(self):
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                self._send("result", {**figure_bundle(pyplot.figure(number)), "isMainResult": False})
        finally:
            pyplot.close("all")

    def serve(self):
        self._channel.send("ready", "-", {"version": sys.version.split()[0]})
        self._channel.mark("-")
        while True:
            kind, cell, code = self._channel.receive()
            if kind == "run":
                self._cell = cell
                outcome = self._answer(code)
                if os.getpid() != self._process:
                    self._end_fork(outcome)
                self._channel.send("done", cell, outcome)
                self._channel.mark(cell)

    def _answer(self, code):
        """An interrupt may come at any moment until the cell is over, also while its error is described."""
        try:
            return self._run(code)
        except KeyboardInterrupt as error:
            return {"executionCount": self._count, "error": describe(error)}
        finally:
            self._running = False

    def _run(self, code):
        self._count += 1
        name = f"<cell {self._count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        # A cell may have set another handler, which would make the next one deaf.
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            self._running = True
            self._send("started", {})
            self._execute(code, name)
            self.show_figures()
            return {"executionCount": self._count}
        except SystemExit as error:
            return self._exit(error)
        except BaseException as error:
            return {"executionCount": self._count, "error": describe(error)}

    @staticmethod
    def _end_fork(outcome):
        """A cell that forked runs on in the child; there it ends as a program does."""
        error = outcome.get("error")
        if error is not None:
            print(error["traceback"], file=sys.stderr)
        attempt(lambda: (sys.stdout.flush(), sys.stderr.flush()))
        os._exit(1 if error is not None else outcome.get("exitCode", 0))

    def _execute(self, code, name):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self._evaluate(compile(tree, name, "exec", flags))
        if last is None:
            return
        value = self._evaluate(compile(ast.Expression(last.value), name, "eval", flags))
        if value is not None and not self._is_shown_later(value):
            self._main._ = value
            self._result(value, True)

    @staticmethod
    def _is_shown_later(value):
        """A figure that pyplot still holds is shown at the end of the cell, once."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        return pyplot is not None and is_figure(value) and getattr(value, "number", None) in pyplot.get_fignums()

    def _evaluate(self, compiled):
        value = eval(compiled, self._main.__dict__)
        if not (compiled.co_flags & inspect.CO_COROUTINE):
            return value
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(value)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            # Else it would go on in the loop of the next cell.
            if not task.done():
                task.cancel()
                attempt(self._loop.run_until_complete, asyncio.gather(task, return_exceptions=True))
            raise

    def _result(self, value, main):
        self._send("result", {**bundle_of(value), "isMainResult": main})

    def _send(self, kind, value):
        if kind == "result":
            attempt(lambda: sys.stdout.flush())
        self._channel.send(kind, self._cell, value)
        if self._interrupted and threading.current_thread() is threading.main_thread():
            self._interrupted = False
            raise KeyboardInterrupt

    def _exit(self, error):
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if not isinstance(error.code, (int, type(None))):
            print(text_of(error.code) if not isinstance(error.code, str) else error.code, file=sys.stderr)
        return {"executionCount": self._count, "exitCode": status & 255}

    def _interrupt(self, number, frame):
        if not self._running or os.getpid() != self._process:
            return
        if self._channel.busy:
            self._interrupted = True
            return
        raise KeyboardInterrupt


def describe(error):
    """An exception as data, with those it came from; the first frames, which are this kernel's own, are left out."""
    fault = {
        "name": type(error).__name__,
        "value": cut(attempt(str, error) or ""),
        "traceback": cut(attempt(traceback_of, error) or type(error).__name__),
    }
    if isinstance(error, OSError) and isinstance(error.errno, int):
        fault["errno"] = error.errno
        path = attempt(os.fsdecode, error.filename)
        if path is not None:
            fault["path"] = path
    return fault


def traceback_of(error):
    whole = traceback.TracebackException.from_exception(error)
    waiting, seen = [whole], set()
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        # `SystemExit` and syntax errors of a cell have no frames of their own.
        part.stack[:] = [frame for frame in part.stack if frame.filename != OWN_FILE]
        waiting += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or [])]
    return "".join(whole.format())


Kernel(Channel()).serve()
