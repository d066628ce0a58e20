# What a value can be shown as.

ROWS_OF_DATA = 1000

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


def encoded(value):
    return base64.b64encode(value).decode() if isinstance(value, (bytes, bytearray)) else value


def plain(value):
    """A cell of a table or a place on an axis as plain data: numbers and text as they are, moments in ISO 8601."""
    if isinstance(value, (bool, int, str, type(None))):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if type(value).__name__ == "datetime64":
        return str(value)
    iso = getattr(value, "isoformat", None)
    if callable(iso):
        return attempt(iso)
    item = getattr(value, "item", None)
    return plain(attempt(item)) if callable(item) else str(value)


def table_of(value):
    """A data frame as `{column: [values]}`, its first rows."""
    if not (hasattr(value, "columns") and hasattr(value, "to_dict") and hasattr(value, "head")):
        return None
    columns = value.head(ROWS_OF_DATA).to_dict(orient="list")
    return {str(name): [plain(cell) for cell in cells] for name, cells in columns.items()}


def shown(value, method):
    """What one of the value's own methods answers; IPython lets them add metadata."""
    show = getattr(value, method, None)
    answer = attempt(show) if callable(show) and not isinstance(value, type) else None
    return answer[0] if isinstance(answer, tuple) and answer else answer


def bundle_of(value):
    """Everything that the value can be shown as: the protocol of IPython's rich display, `_repr_*_` and `_repr_mimebundle_`."""
    bundle = {}
    for name, method in REPRESENTATIONS.items():
        answer = shown(value, method)
        if answer is not None:
            bundle[name] = encoded(answer)
    mimes = shown(value, "_repr_mimebundle_")
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
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    bundle = {"png": base64.b64encode(picture.getvalue()).decode(), "text": text_of(figure)}
    chart = attempt(chart_of, figure)
    if chart is not None:
        bundle["chart"] = chart
    return bundle
