from _models import batch, model, task

__all__ = ["batch", "model", "task"]
