"""``openmsra app``: a page in the browser for networks that are trained. On top of everything, beside the command line.

- server: loads the weights, opens the port, owns the private folder, ends in order
- guard: what comes in: hosts, token, sizes, time, headers
- uploads: what was uploaded: number, size and content
- jobs: work that can be stopped and says how far it is
- tasks: what a tab does, in plain Python: videos, pairs, images, examples
- views: results as HTML; page: the page itself, the only module that needs Gradio
"""
