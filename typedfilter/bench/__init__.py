"""What typedfilter costs, measured side by side with what it wraps: `typedfilter bench`.

`command` has the flags, `_cases` the list of what is measured, `_timing` how, `_report` how it is
shown, `_machine` on what. The measurements are in `_calls`, `_models`, `_eager`, `_first`, `_scale` and
`_process`. They use what `typedfilter` exports, as any project would.
"""
