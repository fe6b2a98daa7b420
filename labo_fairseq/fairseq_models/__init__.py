"""fairseq's models for measuring: loading, batches, hidden states, the projection, teachers."""
