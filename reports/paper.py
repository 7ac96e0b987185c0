def is_current(*a): return False
def report_files(o): return []
def build_report(store, ids, title, out):
    out.mkdir(parents=True,exist_ok=True); (out/'table.txt').write_text('')
