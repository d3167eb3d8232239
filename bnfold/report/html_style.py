"""The style sheet of the HTML report."""

STYLE = """
:root { color-scheme: light dark; --quiet: #6b7280; --line: #d9dde3; --good: #157f3b; --bad: #c0262d; --open: #9a6700; }
@media (prefers-color-scheme: dark) {
  :root { --quiet: #9aa3ae; --line: #3a4048; --good: #4ac26b; --bad: #ff7b72; --open: #d8a634; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.4rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 0; }
p { margin: .2rem 0; }
article + article { margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 2rem; }
table { border-collapse: collapse; margin: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.4rem .25rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); }
td { font-variant-numeric: tabular-nums; }
td.name { overflow-wrap: anywhere; }
td.code { white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
code, td.name { font: .88em/1.6 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
summary { cursor: pointer; }
summary h2 { display: inline; }
details { margin-top: 2rem; }
footer, .quiet { color: var(--quiet); }
footer { margin-top: 3rem; font-size: .85rem; }
.passed { color: var(--good); }
.failed { color: var(--bad); }
.partial, .unchecked, .skipped, td.code, span.code { color: var(--open); }
.passed, .failed, .partial, .unchecked, .skipped, td.code, span.code { font-weight: 600; }
"""
