# A figure of matplotlib as data, in the shape that E2B's charts have.


def chart_of(figure):
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
    boxes = box_elements(axis)
    if boxes:
        return {"type": "box_and_whisker", **base, "elements": boxes}
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
    elements = []
    for group in axis.containers:
        lying = getattr(group, "orientation", None) == "horizontal"
        names = tick_names(axis.yaxis if lying else axis.xaxis)
        for bar in getattr(group, "patches", []):
            middle = bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
            label = names.get(plain(round(middle, 9))) or str(plain(middle))
            value = plain(bar.get_width() if lying else bar.get_height())
            elements.append({"label": label, "group": group.get_label(), "value": value})
    return elements[:ROWS_OF_DATA]


def tick_names(axis):
    return {plain(place): label.get_text() for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels())}


def pie_elements(axis):
    from matplotlib.patches import Wedge

    wedges = [patch for patch in axis.patches if isinstance(patch, Wedge)]
    return [
        {"label": wedge.get_label(), "angle": plain(abs(wedge.theta2 - wedge.theta1)), "radius": plain(wedge.r)}
        for wedge in wedges
    ]


DRAWN_BOXES = "_glovebox_boxes"


def remember_boxes():
    """A drawn box is lines among lines: what it was drawn from is kept beside them, for pandas and seaborn too, which draw by `bxp`."""
    import functools
    from matplotlib.axes import Axes

    draw = Axes.bxp
    if hasattr(draw, DRAWN_BOXES):
        return

    @functools.wraps(draw)
    def bxp(axis, bxpstats, *args, **options):
        artists = draw(axis, bxpstats, *args, **options)
        attempt(keep_boxes, axis, bxpstats, artists)
        return artists

    setattr(bxp, DRAWN_BOXES, True)
    Axes.bxp = bxp


def keep_boxes(axis, stats, artists):
    axis.__dict__.setdefault(DRAWN_BOXES, []).extend(zip(stats, artists["medians"]))


def box_elements(axis):
    lines = set(axis.lines)
    # Of an axis that was cleared since, nothing is left.
    drawn = [(stats, median) for stats, median in axis.__dict__.get(DRAWN_BOXES, []) if median in lines]
    return [box_of(axis, stats, median) for stats, median in drawn[:ROWS_OF_DATA]]


def box_of(axis, stats, median):
    xs, ys = median.get_data()
    standing = len(set(ys)) <= 1
    places = xs if standing else ys
    middle = plain(round(float(sum(places)) / len(places), 9))
    label = tick_names(axis.xaxis if standing else axis.yaxis).get(middle) or stats.get("label")
    return {
        "label": str(middle if label is None else label),
        "min": plain(stats["whislo"]),
        "first_quartile": plain(stats["q1"]),
        "median": plain(stats["med"]),
        "third_quartile": plain(stats["q3"]),
        "max": plain(stats["whishi"]),
        "outliers": [plain(value) for value in list(stats.get("fliers", []))[:ROWS_OF_DATA]],
    }


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
        remember_boxes()
        module.show = lambda *_, **__: self._kernel.show_figures()
