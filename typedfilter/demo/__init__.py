"""A whole training run on annotations: `typedfilter demo`.

`model` holds the layers, `training` the transformed functions, `digits` the data, `report` and
`plot` what is shown, `command` the flags. Uses only what `typedfilter` exports, as any project would.
"""
