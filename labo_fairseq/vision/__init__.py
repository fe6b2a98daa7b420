"""Image classification in fairseq: a task, data sets, models, an optimizer and a learning rate schedule.

Importing this package, or registering it with fairseq, needs no torchvision; using the task does.
"""
