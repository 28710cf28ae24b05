"""``openmsra demo``: every paper trained, tested and used in miniature by the commands of a user, and one page that shows it.

- run: which papers can run here, two of them at a time, and what is said on the way
- stage: runs commands for a paper and keeps what they say; exhibit: what is known about it before
- papers: one file a paper: its commands, its figure, its picture
- charts, pictures, page: curves as SVG, pictures and the page, without any request to the outside
"""
