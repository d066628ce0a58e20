"""The kernel of a Python context: runs one cell after another in one namespace, inside the sandbox.

Descriptor 3 is the control channel, frames of `kind id length` on a line and then as many bytes (UTF-8; JSON in what
this side sends). Descriptors 1 and 2 belong to the cells; the id of a cell, written to both at its end, tells the host where
its output stops. Nothing here is trusted by the host.
"""

import ast
import asyncio
import base64
import inspect
import json
import linecache
import os
import signal
import sys
import traceback
import types

ROWS_OF_DATA = 1000
CHARACTERS_OF_TEXT = 1 << 20


class Channel:
    """The control channel and private copies of the output descriptors, none of them inherited by programs that a cell starts."""

    def __init__(self):
        self._in = os.fdopen(os.dup(3), "rb")
        self._out = os.dup(3)
        self._marks = [os.dup(1), os.dup(2)]
        os.close(3)

    def receive(self):
        head = self._in.readline().split()
        if len(head) != 3:
            raise SystemExit(0)
        kind, cell, length = head
        return kind.decode(), cell.decode(), self._in.read(int(length)).decode("utf-8", "replace")

    def send(self, kind, cell, value):
        body = json.dumps(value, default=str, ensure_ascii=True).encode()
        self._write(self._out, b"%s %s %d\n" % (kind.encode(), cell.encode(), len(body)) + body)

    def mark(self, cell):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
        for descriptor in self._marks:
            self._write(descriptor, b"\0%s\0" % cell.encode())

    @staticmethod
    def _write(descriptor, data):
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


def attempt(work, *arguments):
    """What a cell's own object answers; an error in it is nobody's business here."""
    try:
        return work(*arguments)
    except Exception:
        return None


REPRESENTATIONS = {
    "html": "_repr_html_",
    "markdown": "_repr_markdown_",
    "svg": "_repr_svg_",
    "png": "_repr_png_",
    "jpeg": "_repr_jpeg_",
    "pdf": "_repr_pdf_",
    "latex": "_repr_latex_",
    "json": "_repr_json_",
    "javascript": "_repr_javascript_",
}

MIME_NAMES = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "text/latex": "latex",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "application/json": "json",
    "application/javascript": "javascript",
}


def text_of(value):
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
    return text if len(text) <= CHARACTERS_OF_TEXT else text[:CHARACTERS_OF_TEXT] + "…"


def encoded(value):
    return base64.b64encode(value).decode() if isinstance(value, (bytes, bytearray)) else value


def plain(value):
    """A table or figure as plain data, where it has such a form."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    item = getattr(value, "item", None)
    if callable(item):
        return attempt(item)
    iso = getattr(value, "isoformat", None)
    return attempt(iso) if callable(iso) else str(value)


def table_of(value):
    """A data frame as `{column: [values]}`, its first rows."""
    if not (hasattr(value, "columns") and hasattr(value, "to_dict") and hasattr(value, "head")):
        return None
    columns = value.head(ROWS_OF_DATA).to_dict(orient="list")
    return {str(name): [plain(cell) for cell in cells] for name, cells in columns.items()}


def bundle_of(value):
    """Everything that the value can be shown as: the protocol of IPython's rich display, `_repr_*_` and `_repr_mimebundle_`."""
    bundle = {}
    for name, method in REPRESENTATIONS.items():
        show = getattr(value, method, None)
        shown = attempt(show) if callable(show) and not isinstance(value, type) else None
        if isinstance(shown, tuple):
            shown = shown[0]
        if shown is not None:
            bundle[name] = encoded(shown)
    many = getattr(value, "_repr_mimebundle_", None)
    mimes = attempt(many) if callable(many) and not isinstance(value, type) else None
    if isinstance(mimes, tuple):
        mimes = mimes[0]
    if isinstance(mimes, dict):
        add_mimes(bundle, mimes)
    data = attempt(table_of, value)
    if data is not None:
        bundle["data"] = data
    if is_figure(value):
        bundle.update(figure_bundle(value))
    bundle.setdefault("text", text_of(value))
    return bundle


def add_mimes(bundle, mimes):
    for mime, value in mimes.items():
        name = MIME_NAMES.get(mime)
        if name is None:
            bundle.setdefault("extra", {})[str(mime)] = encoded(value)
        else:
            bundle.setdefault(name, encoded(value))


def is_figure(value):
    figures = sys.modules.get("matplotlib.figure")
    return figures is not None and isinstance(value, figures.Figure)


def figure_bundle(figure):
    import io

    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    bundle = {"png": base64.b64encode(picture.getvalue()).decode(), "text": text_of(figure)}
    chart = attempt(chart_of, figure)
    if chart is not None:
        bundle["chart"] = chart
    return bundle


def chart_of(figure):
    """The figure as data, in the shape that E2B's charts have."""
    axes = [attempt(axis_chart, axis) for axis in figure.axes if axis.get_visible()]
    charts = [chart for chart in axes if chart is not None]
    if not charts:
        return None
    if len(charts) == 1:
        return charts[0]
    title = figure._suptitle.get_text() if figure._suptitle is not None else None
    return {"type": "superchart", "title": title, "elements": charts}


def axis_chart(axis):
    from matplotlib.patches import Wedge

    base = {"title": axis.get_title() or None}
    if any(isinstance(patch, Wedge) for patch in axis.patches):
        return {"type": "pie", **base, "elements": pie_elements(axis)}
    base.update(
        x_label=axis.get_xlabel() or None,
        y_label=axis.get_ylabel() or None,
        x_scale=scale_of(axis.xaxis),
        y_scale=scale_of(axis.yaxis),
    )
    if axis.containers and any(type(group).__name__ == "BarContainer" for group in axis.containers):
        return {"type": "bar", **base, "elements": bar_elements(axis)}
    if axis.collections and not axis.lines:
        return {"type": "scatter", **base, "elements": scatter_elements(axis)}
    if axis.lines:
        return {"type": "line", **base, "elements": line_elements(axis)}
    return {"type": "unknown", **base, "elements": []}


def scale_of(axis):
    converter = type(getattr(axis, "converter", None)).__name__
    if "Date" in converter:
        return "datetime"
    if "Category" in converter:
        return "categorical"
    return axis.get_scale()


def line_elements(axis):
    return [
        {"label": line.get_label(), "points": points(line.get_xdata(), line.get_ydata())}
        for line in axis.lines
    ]


def scatter_elements(axis):
    return [
        {"label": group.get_label(), "points": points(*zip(*group.get_offsets()))}
        for group in axis.collections
        if len(group.get_offsets()) > 0
    ]


def points(xs, ys):
    return [[plain(x), plain(y)] for x, y in list(zip(xs, ys))[:ROWS_OF_DATA]]


def bar_elements(axis):
    ticks = {plain(place): label.get_text() for place, label in zip(axis.get_xticks(), axis.get_xticklabels())}
    elements = []
    for group in axis.containers:
        for bar in getattr(group, "patches", []):
            middle = bar.get_x() + bar.get_width() / 2
            label = ticks.get(plain(round(middle, 9))) or str(plain(middle))
            elements.append({"label": label, "group": group.get_label(), "value": plain(bar.get_height())})
    return elements[:ROWS_OF_DATA]


def pie_elements(axis):
    from matplotlib.patches import Wedge

    wedges = [patch for patch in axis.patches if isinstance(patch, Wedge)]
    return [
        {"label": wedge.get_label(), "angle": plain(abs(wedge.theta2 - wedge.theta1)), "radius": plain(wedge.r)}
        for wedge in wedges
    ]


BACKEND = "glovebox_figures"


class FigureBackend:
    """Finds the matplotlib backend of this kernel, made only when a cell imports matplotlib: `show` sends the open figures."""

    def __init__(self, kernel):
        self._kernel = kernel

    def find_spec(self, name, path=None, target=None):
        if name != BACKEND:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        from matplotlib.backends import backend_agg

        module.FigureCanvas = backend_agg.FigureCanvasAgg
        module.show = lambda *_, **__: self._kernel.show_figures()


class Kernel:
    def __init__(self, channel):
        self._channel = channel
        self._count = 0
        self._cell = ""
        self._running = False
        self._loop = None
        self._main = types.ModuleType("__main__")
        self._main.display = self.display
        sys.modules["__main__"] = self._main
        sys.argv = [""]
        sys.path.insert(0, "")
        sys.meta_path.insert(0, FigureBackend(self))
        os.environ.setdefault("MPLBACKEND", "module://" + BACKEND)
        signal.signal(signal.SIGINT, self._interrupt)

    def display(self, *values):
        """Shows values as results of the running cell."""
        for value in values:
            self._result(value, False)

    def show_figures(self):
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            self._channel.send("result", self._cell, {**figure_bundle(pyplot.figure(number)), "isMainResult": False})
        pyplot.close("all")

    def serve(self):
        self._channel.send("ready", "-", {"version": sys.version.split()[0]})
        self._channel.mark("-")
        while True:
            kind, cell, code = self._channel.receive()
            if kind == "run":
                self._cell = cell
                self._channel.send("done", cell, self._run(code))
                self._channel.mark(cell)

    def _run(self, code):
        self._count += 1
        name = f"<cell {self._count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        try:
            self._running = True
            self._channel.send("started", self._cell, {})
            self._execute(code, name)
            self.show_figures()
            self._running = False
            return {"executionCount": self._count}
        except SystemExit as error:
            self._running = False
            return self._exit(error)
        except BaseException as error:
            self._running = False
            return {"executionCount": self._count, "error": self._error(error)}

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
        return pyplot is not None and is_figure(value) and value.number in pyplot.get_fignums() if hasattr(value, "number") else False

    def _evaluate(self, compiled):
        value = eval(compiled, self._main.__dict__)
        if not (compiled.co_flags & inspect.CO_COROUTINE):
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(value)

    def _result(self, value, main):
        self._channel.send("result", self._cell, {**bundle_of(value), "isMainResult": main})

    def _exit(self, error):
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return {"executionCount": self._count, "exitCode": status & 255}

    def _error(self, error):
        # The first frames are this kernel's own.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != "<glovebox>"]
        lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
        lines += traceback.format_exception_only(type(error), error)
        fault = {"name": type(error).__name__, "value": str(error), "traceback": "".join(lines)}
        if isinstance(error, OSError) and error.errno is not None:
            fault["errno"] = error.errno
            if error.filename is not None:
                fault["path"] = os.fsdecode(error.filename)
        return fault

    def _interrupt(self, number, frame):
        if self._running:
            raise KeyboardInterrupt


Kernel(Channel()).serve()
