"""The sections of the report. Each makes blocks from a `reports.study.Study`, or none if there is no data for it."""
