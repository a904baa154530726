"""What a model is worth: metrics, statistics, comparisons, the report and the model card."""
