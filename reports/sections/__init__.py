"""The sections of the report, one idea a file. Each makes blocks from a `reports.study.Study`, and none where "
"there is no data."""
