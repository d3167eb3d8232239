"""What one run did to one model, for people: as text, as JSON and as a page."""

from dataclasses import dataclass

from bnfold.report.model import ReportData


@dataclass(frozen=True, repr=False)
class Report(ReportData):
    """What one run did to one model; the attributes are those of `bnfold.report.model.ReportData`."""

    def to_text(self, *, width: int = 80, verbose: bool = False) -> str:
        """The report as the command prints it.

        Args:
            width: columns; longer lines are wrapped.
            verbose: every node with every reason.
        """
        from bnfold.report.text import render_text

        return render_text(self, width=width, verbose=verbose)

    def to_json(self) -> str:
        """The report as `--report FILE.json` writes it for this model alone; see schema.json beside this module."""
        from bnfold.report.json import render_json

        return render_json([self])

    def to_html(self) -> str:
        """The report as a page for the browser, that needs no other file."""
        from bnfold.report.html import render_html

        return render_html([self])

    def __repr__(self) -> str:
        return f"<Report on {self.input}: {self.summary}>"

    def _repr_html_(self) -> str:
        """For notebooks: the page in a frame of its own, because its styles and names are not those of the notebook."""
        from html import escape

        return (
            '<iframe style="width: 100%; height: 40rem; border: 0" sandbox="allow-scripts allow-popups" '
            f'title="bnfold: {escape(self.summary)}" srcdoc="{escape(self.to_html())}"></iframe>'
        )
