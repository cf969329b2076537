def plain_report(r): return "\n".join(map(str, r.results))
