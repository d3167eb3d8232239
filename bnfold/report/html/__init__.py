"""The report as a page for the browser: one file that needs no other and no network, readable without JavaScript.

`page` is the document, `sections` the list of what it says of one model: a new section is a function there. Every name
out of a model goes through `markup.text`, and the page forbids by its own policy whatever it does not hold itself.
"""

from bnfold.report.html.page import render_html as render_html
