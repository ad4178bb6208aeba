"""The words of the synthetic corpus: a YAML file per theme, and `shared.yaml` for what several themes share.

Every block is a text of templates separated by white space, read by `corpus.phrases.templates`:
`{晚风|海风}吹过{窗台|街灯}` writes each choice; `^` in front refuses an opener before the clause; `~` in
front marks a memory, which may name another season or hour than the song's. All sentences were written
for this corpus.
"""
