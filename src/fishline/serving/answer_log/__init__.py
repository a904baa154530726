"""The log of answers: what was answered, when, where and by which model, as Parquet files."""
