"""The sections of the report. Each makes blocks from a `reports.study.Study`, and no block where there is no data."""
