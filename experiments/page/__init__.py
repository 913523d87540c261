"""`report.html`: one page about a run, which needs no network and no server."""
